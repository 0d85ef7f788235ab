"""Fresh guest programs, made for one run and thrown away.

A Program is NASM source that grows instruction by instruction: a 32-bit multiboot kernel which
computes what it prints, so that nothing of the expected output stands in the image. The same ELF
file runs on the bare emulator (which gives the expectation) and on the engine under test.

    p = Program(rng)
    p.op("mov ecx, 17")
    p.say("ecx", "c")            # prints `c=` and ECX, eight hex digits
    p.end(code=3)
    guest = p.assemble(folder, "first")

What it prints goes to COM1 by single-byte `out dx, al`; it ends by a write to the debug exit port,
then Bochs' shutdown port, then a dead halt.
"""

import os
import shutil
import subprocess
from pathlib import Path

from ..judging.trial import Trouble
from ..machines.elf import ElfFile

COM1 = 0x3F8
DEBUG_EXIT = 0xF4
REGISTERS = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp")
MEMORY_LOW, MEMORY_HIGH = 0x110000, 0x600000
"""Where a program may be linked: inside the smallest guest that tests start."""
STACK_BYTES = 1024
"""What a program may push; none calls itself."""

HEAD = """\
        bits 32
        section .text
        align 4
        dd 0x1badb002, 0x00000003, -(0x1badb002 + 0x00000003)
        times {gap} db 0x90
        global _start
_start:
"""

# Prints EAX as eight hex digits. Changes nothing but EFLAGS: callers keep those if they need to.
# The stack below holds: return address, then what PUSHA saved.
LIBRARY = """\
put_hex:
        pusha
        mov ecx, 8
.digit:
        rol eax, 4
        push eax
        and eax, 15
        cmp al, 10
        sbb al, 0x69
        das
        call put_byte
        pop eax
        loop .digit
        popa
        ret
put_text:
        pusha
.next:
        mov al, [esi]
        inc esi
        test al, al
        jz .done
        call put_byte
        jmp .next
.done:
        popa
        ret
put_byte:
        push edx
        mov edx, 0x3f8
        out dx, al
        pop edx
        ret
"""


# Bare Bochs loses bytes that come before the UART is ready. With its FIFO on, sixteen may come at once
# when the last one has left.
SEND = """\
put_byte:
        push edx
"""
DRAINED = """\
drained:
        pushfd
        push eax
        push edx
        mov edx, 0x3fa
        mov al, 1
        out dx, al
        mov edx, 0x3fd
.wait:  in al, dx
        test al, 0x40
        jz .wait
        pop edx
        pop eax
        popfd
        ret
"""


def for_slow_uart(text):
    """A program's source, for a machine whose UART takes its time: each byte waits for the one before."""
    text = text.replace(SEND, "put_byte:\n        call drained\n        push edx\n").replace("drained: ret\n", "")
    return text.replace(f"        out {DEBUG_EXIT:#x}, al\n", f"        call drained\n        out {DEBUG_EXIT:#x}, al\n") + DRAINED


def _tool(name):
    prefix = os.environ.get("CROSS")
    if prefix is None:
        prefix = "" if os.uname().machine in ("x86_64", "amd64") else "x86_64-linux-gnu-"
    path = shutil.which(prefix + name)
    if not path:
        raise Trouble(f"{prefix + name} is not here (package binutils)")
    return path


def _run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise Trouble(f"{Path(command[0]).name} failed on a generated guest: {done.stderr.strip()}")


def assemble(source, folder, name, base=0x100000):
    """NASM source to a 32-bit ELF that is linked at `base`; its path."""
    nasm = shutil.which("nasm")
    if not nasm:
        raise Trouble("nasm is not here (package nasm)")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text, middle, out = folder / f"{name}.asm", folder / f"{name}.o", folder / f"{name}.elf"
    text.write_text(source)
    _run([nasm, "-f", "elf32", "-o", str(middle), str(text)])
    _run([_tool("ld"), "-m", "elf_i386", "-N", "-nostdlib", "-z", "noexecstack",
          f"-Ttext={base:#x}", "-e", "_start", "-o", str(out), str(middle)])
    middle.unlink()
    return out


def assemble_flat(source, folder, name):
    """NASM source to a file of just what it says; its path."""
    nasm = shutil.which("nasm")
    if not nasm:
        raise Trouble("nasm is not here (package nasm)")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text, out = folder / f"{name}.asm", folder / f"{name}.elf"
    text.write_text(source)
    _run([nasm, "-f", "bin", "-o", str(out), str(text)])
    return out


class Program:
    """A guest under construction; `rng` decides where it lies and what is left to chance."""

    def __init__(self, rng, base=None, gap=None):
        self.rng = rng
        self.base = base if base is not None else rng.randrange(MEMORY_LOW, MEMORY_HIGH, 4096)
        self.gap = rng.randrange(0, 2048) if gap is None else gap
        self.lines = []
        self.data = []
        self.count = 0
        self.listening = False
        self.slow_uart = False
        """For bare Bochs: see for_slow_uart()."""
        # The stack stands apart from the code: code and hot data on one page slow QEMU down.
        # A loader leaves most registers and the flags as they happen to be: begin with known ones.
        self.use_stack(self.base + 0x10000)
        self.op("xor eax, eax")
        self.op(*(f"mov {register}, {self.word():#x}" for register in REGISTERS))

    # -- building -----------------------------------------------------------------------------

    def use_stack(self, top):
        """The stack, from here on: the image must end below it."""
        self.stack = top
        self.op(f"mov esp, {top:#x}")

    def op(self, *lines):
        """Instructions, one per argument."""
        self.lines += [f"        {line}" for line in lines]

    def label(self, name=None):
        """A label here; a fresh name if none is given. The name."""
        if name is None:
            self.count += 1
            name = f"at{self.count}"
        self.lines.append(f"{name}:")
        return name

    def text(self, words):
        """A zero-ended string in the image; its label."""
        self.count += 1
        name = f"text{self.count}"
        codes = ", ".join(str(byte) for byte in words.encode("ascii"))
        self.data.append(f"{name}: db {codes + ', ' if codes else ''}0")
        return name

    def console(self):
        """COM1 to 8 data bits: at reset it has 5. Done once, before the first byte."""
        if not self.listening:
            self.listening = True
            self.op("pusha", f"mov edx, {COM1 + 3:#x}", "mov al, 3", "out dx, al", "popa")

    def print(self, words):
        """Print fixed words: titles only, never a result."""
        self.console()
        self.op("push esi", f"mov esi, {self.text(words)}", "call put_text", "pop esi")

    def say(self, register, name=""):
        """Print `name=XXXXXXXX` and a new line; no register changes, flags do."""
        self.console()
        if name:
            self.print(f"{name}=")
        if register == "eax":
            self.op("call put_hex")
        else:
            self.op("push eax", f"mov eax, {register}", "call put_hex", "pop eax")
        self.op("push eax", "mov al, 10", "call put_byte", "pop eax")

    def word(self):
        """A random 32-bit constant."""
        return self.rng.getrandbits(32)

    def churn(self, count=6, registers=REGISTERS):
        """Random arithmetic without a trap: registers that only a CPU (or an emulator) knows."""
        for _ in range(count):
            a, b = self.rng.choice(registers), self.rng.choice(registers)
            self.op(self.rng.choice((
                f"mov {a}, {self.word():#x}", f"add {a}, {b}", f"xor {a}, {self.word():#x}",
                f"imul {a}, {b}, {self.rng.randrange(3, 1 << 20) | 1}", f"lea {a}, [{b} + {a}]",
                f"rol {a}, {self.rng.randrange(1, 31)}", f"sub {a}, {b}", f"bswap {a}",
                f"not {a}", f"adc {a}, {b}", f"sbb {a}, {b}")))

    def exit(self, code=0):
        """A write to the debug exit port, behind which nothing runs any more."""
        self.op(f"mov al, {code}", f"out {DEBUG_EXIT:#x}, al")

    def end(self, code=0):
        """The end of every guest."""
        self.exit(code)
        for letter in b"Shutdown":
            self.op("mov dx, 0x8900", f"mov al, {letter}", "out dx, al")
        self.op("cli")
        self.label("dead_end")
        self.op("hlt", "jmp dead_end")

    # -- the result ---------------------------------------------------------------------------

    def source(self):
        """The whole program."""
        return "\n".join([HEAD.format(gap=self.gap) + "\n".join(self.lines), LIBRARY,
                          *self.data, ""])

    def assemble(self, folder, name):
        """The ELF file, as a multiboot loader takes it."""
        text = self.source()
        elf = assemble(for_slow_uart(text) if self.slow_uart else text, folder, name, self.base)
        end = max(one.va + one.size for one in ElfFile(elf.read_bytes()).segments)
        if self.stack - STACK_BYTES < end:
            raise Trouble(f"a generated guest's image ends at {end:#x}, in the stack below {self.stack:#x}")
        return elf


def printable(p, byte="al"):
    """Instructions that map AL to a letter, so that consoles show it as it is."""
    p.op(f"and {byte}, 31", f"add {byte}, 64")


def mask_interrupts(p):
    """Both 8259s off: with IF on, the bare machine's timer would want an IDT."""
    p.op("mov al, 0xff", "out 0x21, al", "out 0xa1, al")


def outs(rng, count=24):
    """OUT in its forms, to COM1 and to ports that are nobody's; registers full of other bits."""
    p = Program(rng)
    p.console()
    p.churn(12)
    p.op(f"mov esi, {p.word():#x}")
    for _ in range(count):
        kind = rng.choice(("com", "com", "com", "foreign", "odd"))
        p.op(f"imul esi, esi, {rng.randrange(5, 1 << 24) | 1}", f"add esi, {p.word():#x}")
        p.op("mov eax, esi", "rol eax, 9")
        if kind == "com":
            printable(p)
            # Only DX is the port: what stands above it in EDX must not matter.
            p.op(f"mov edx, {rng.getrandbits(16) << 16 | COM1:#x}",
                 rng.choice(("out dx, al", "db 0x2e, 0xee", "db 0x66, 0xee", "db 0x3e, 0x66, 0xee")))
        elif kind == "odd":
            # A line's end at random places, from another register through AL.
            p.op("mov ebx, eax", "mov al, 10", f"mov edx, {COM1:#x}", "out dx, al",
                 "mov eax, ebx")
        else:
            port = rng.choice((0x80, 0xE0, 0xE5, 0xED))
            p.op(rng.choice((f"out {port:#x}, al", f"out {port:#x}, eax", f"out {port:#x}, ax")))
        if rng.random() < 0.3:
            # A wide access is bytewise: here its third byte or second sets DLAB, behind which a
            # byte for COM1 is a divisor's and not printed; then all is as before.
            port, register, shift = rng.choice(((0x3F9, "eax", 16), (0x3FA, "ax", 8)))
            high = rng.getrandbits(16) << 16
            p.op(f"mov eax, {0x83 << shift:#x}", f"mov edx, {high | port:#x}", f"out dx, {register}",
                 f"mov al, {rng.randrange(65, 91)}", f"mov edx, {high | COM1:#x}", "out dx, al",
                 f"mov eax, {0x03 << shift:#x}", f"mov edx, {high | port:#x}", f"out dx, {register}")
        if rng.random() < 0.3:
            p.churn(2, ("ebx", "ecx", "edi", "ebp"))
    p.op("mov al, 10", f"mov dx, {COM1:#x}", "out dx, al")
    for register in ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp"):
        p.say(register, register)
    p.exit(rng.randrange(0, 60))
    p.print("nobody may see this\n")
    p.end()
    return p


def flags_survive(rng, count=12, emulated=("out 0x80, al", "out 0xed, al")):
    """Flags and registers before and after each emulated instruction, folded into one sum."""
    p = Program(rng)
    mask_interrupts(p)
    p.op("xor edi, edi")
    for _ in range(count):
        p.op(f"mov ebx, {p.word():#x}", f"mov ecx, {p.word():#x}")
        p.op(rng.choice(("add ebx, ecx", "sub ebx, ecx", "cmp ebx, ecx", "test ebx, ecx", "stc",
                         "clc", "std", "neg ecx")))
        p.op(rng.choice(emulated))
        # LAHF and SETO see the arithmetic flags without the parts that ring 1 changes.
        p.op("mov edx, 0", "lahf", "seto dl", "cld", "movzx eax, ah", "imul edi, edi, 33",
             "add edi, eax", "shl edx, 8", "xor edi, edx", "add edi, ebx", "xor edi, ecx")
        p.say("edi")
    p.end(rng.randrange(0, 60))
    return p


def interrupt_flag(rng, count=10):
    """cli and sti in a random order, with work and other exits between. (Program, [(label, IF)])"""
    p, points, flag = Program(rng), [], 0
    mask_interrupts(p)
    for _ in range(count):
        flag = rng.randrange(2)
        p.op("sti" if flag else "cli")
        for _ in range(rng.randrange(3)):
            # A later exit must not bring the CPU's own IF into the guest's flags.
            p.op(rng.choice(("out 0x80, al", "mov eax, 5", "out 0xed, al")))
        p.churn(2)
        points.append((p.label(), flag))
        p.op("nop")
    p.op("cli")
    p.print("the end\n")
    p.end(rng.randrange(0, 60))
    return p, points


def halt(rng, flag):
    """A random road to HLT with the guest's IF at `flag`. (Program, label behind the HLT)"""
    p = Program(rng)
    for _ in range(rng.randrange(1, 6)):
        p.op(rng.choice(("cli", "sti", "out 0x80, al")))
        p.churn(2)
    p.print("to sleep\n")
    p.op("sti" if flag else "cli", "hlt")
    after = p.label("after")
    p.print("awake\n")
    p.end(1)
    return p, after


CR0_PLAY = (1 << 1, 1 << 3, 1 << 5, 1 << 16, 1 << 18)
CR4_PLAY = (1 << 2, 1 << 3, 1 << 4, 1 << 6)


def control_registers(rng, count=16):
    """CR0, CR2, CR3, CR4 and DR0-3 written and read in a random order, from random registers."""
    p = Program(rng)
    others = ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp")
    written = set()
    for _ in range(count):
        kind = rng.choice(("cr0", "cr0", "cr2", "cr3", "cr4", "clts", "lmsw", "dr"))
        a, b = rng.choice(others), rng.choice(others)
        if kind == "cr0":
            bits = sum(bit for bit in CR0_PLAY if rng.random() < 0.5)
            p.op(f"mov {a}, {bits | 1:#x}", f"mov cr0, {a}")
        elif kind == "cr2":
            p.op(f"mov {a}, {p.word():#x}", f"mov cr2, {a}")
        elif kind == "cr3":
            p.op(f"mov {a}, {p.word() & 0xfffff000:#x}", f"mov cr3, {a}")
        elif kind == "cr4":
            bits = sum(bit for bit in CR4_PLAY if rng.random() < 0.5)
            p.op(f"mov {a}, {bits:#x}", f"mov cr4, {a}")
        elif kind == "clts":
            p.op("clts")
        elif kind == "lmsw":
            p.op(f"mov ebx, {p.word() & 0xffff0000 | rng.choice((1, 3, 9, 11)):#x}", "lmsw bx")
        else:
            register = f"dr{rng.randrange(4)}"
            p.op(f"mov {a}, {p.word():#x}", f"mov {register}, {a}", f"mov {b}, {register}")
            p.say(b, register)
        if kind != "dr":
            register = rng.choice(("cr0", "cr0", "cr4", "cr2" if "cr2" in written else "cr0"))
            if kind in ("cr2", "cr3"):
                register = kind
                written.add(kind)
            # 32 bits are moved, whatever the operand size: SDM 2B "MOV (Move to/from Control Registers)".
            p.op(f"{rng.choice(('', 'o16 '))}mov {b}, {register}")
            p.say(b, register)
    p.op("mov eax, 1", "mov cr0, eax")
    p.end(rng.randrange(0, 60))
    return p
