"""Fresh PV guests: 64-bit kernels with Xen's notes, made for one run.

A Paravirtual is NASM source that grows: it is built, not booted, and prints by console_io. What it prints its maker knows
from the ABI alone; addresses come from the linked image (`at()`).
"""

import shutil
from pathlib import Path

from ..judging.evidence import Symbols
from ..judging.trial import Trouble
from .programs import _run, _tool

BASE = 0xFFFFFFFF80000000
GPRS = ("rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
KEPT = tuple(name for name in GPRS if name not in ("rax", "rcx", "r11"))
"""Those that a hypercall leaves alone if it is done at once."""
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
ENOSYS, EPERM = -38, -1
SELF = 0x7FF0
YIELD = 0
MANY = 1500

SCRIPT = """\
ENTRY(_start)
PHDRS { text PT_LOAD FLAGS(5); data PT_LOAD FLAGS(6); note PT_NOTE FLAGS(4); }
SECTIONS
{
	. = @BASE@ + 0x100000;
	.text : AT(ADDR(.text) - @BASE@) { *(.text) } :text
	.note.Xen : AT(ADDR(.note.Xen) - @BASE@) { KEEP(*(.note.Xen)) } :text :note
	. = ALIGN(0x1000);
	.data : AT(ADDR(.data) - @BASE@) { *(.data) } :data
	/DISCARD/ : { *(.comment) *(.note.*) }
}
"""

HEAD = """\
        default rel
        bits 64
%macro NOTE 2
        dd 4, %%end - %%words, %1
        db "Xen", 0
%%words:
%ifstr %2
        db %2, 0
%else
        dq %2
%endif
%%end:  align 4, db 0
%endmacro
        section .note.Xen note alloc noexec nowrite align=4
        NOTE 1, _start
        NOTE 3, @BASE@
        NOTE 5, "xen-3.0"
        NOTE 6, "zeno-grader"
        NOTE 8, "generic"
@NOTES@        section .text
        global _start
_start: cld
        mov [info], rsi
        lea rsp, [stack + 0x2000]
"""


def subroutine(name, changed, *lines):
    """Lines to call by a name: nobody sees that they change these registers and the flags."""
    body = ["pushfq", *(f"push {one}" for one in changed), *lines, *(f"pop {one}" for one in reversed(changed)), "popfq", "ret"]
    return "\n".join([f"{name}:", *(f"        {line}" for line in body), ""])


# Prints RAX as 16 hex digits and a new line.
LIBRARY = subroutine("put", ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"), """\
cld
        lea rdi, [line]
        mov ecx, 16
.digit: rol rax, 4
        mov edx, eax
        and edx, 15
        lea rsi, [digits]
        mov dl, [rsi + rdx]
        mov [rdi], dl
        inc rdi
        loop .digit
        mov byte [rdi], 10
        mov eax, 18
        xor edi, edi
        mov esi, 17
        lea rdx, [line]
        syscall""") + """\
the_end:
        mov eax, 29
        mov edi, 2
        lea rsi, [reason]
        syscall
        jmp the_end
at_syscall:
        syscall
        ud2
at_ud2: ud2
        section .data
        align 4096
stack:  times 0x2000 db 0
kernel_stack:
        times 0x1000 db 0
top:    dq 0
shared: times 0xff8 db 0
info:   dq 0
reason: dd 0
digits: db "0123456789abcdef"
line:   times 32 db 0
        align 8
"""


class Paravirtual:
    """A PV guest under construction."""

    def __init__(self, rng, base=BASE, notes=()):
        self.rng, self.base, self.notes = rng, base, dict(notes)
        self.lines, self.data, self.expected = [], [], []
        self.doing, self.behind = "", {}
        self.symbols = None

    def op(self, *lines):
        """Instructions, one per argument."""
        self.lines += [f"        {line}" for line in lines]

    def label(self, name):
        """A label here."""
        self.lines.append(f"{name}:")

    def word(self):
        """64 bits at random."""
        return self.rng.getrandbits(64)

    def say(self, operand, value):
        """Print what lies there; what it must be: a number, or a function of the guest's addresses."""
        self.op("push rax", f"mov rax, {operand}", "call put", "pop rax")
        self.behind[len(self.expected)] = self.doing
        self.expected.append(value)

    def place(self, i):
        """Where line i stands, in words: which of how many, and behind what."""
        return f"in line {i + 1} of {len(self.expected)}" + (f", behind {self.behind[i]}" if self.behind.get(i) else "")

    def call(self, number, *args):
        """A hypercall."""
        self.op(f"mov rax, {number:#x}", *(f"mov {register}, {value}" for register, value in zip(("rdi", "rsi", "rdx", "r10", "r8"), args)),
                "syscall")

    def until(self, name, *lines):
        """Again and again, with a turn for others between, up to when the last of these lines jumps to `{out}`."""
        self.label(f"{name}_again")
        self.op(*(line.format(out=f"{name}_out") for line in lines))
        self.call(29, YIELD)
        self.op(f"jmp {name}_again")
        self.label(f"{name}_out")

    def map_shared_page(self):
        """The page that Zeno shares with it, where `shared_page` is."""
        self.data += ["align 4096", "shared_page: times 4096 db 0"]
        self.op("mov rbx, [info]", "mov rsi, [rbx + 40]", "or rsi, 7", "mov rdi, shared_page", "mov eax, 14", "mov edx, 2", "syscall")
        self.say("rax", 0)

    def end(self):
        """It powers off."""
        self.op("jmp the_end")

    def at(self, name):
        """The address of a label, once it is assembled."""
        return self.symbols.address(name)

    def placed(self, text):
        """With its VIRT_BASE, and the notes that others have not."""
        return text.replace("@BASE@", f"{self.base:#x}").replace("@NOTES@", "".join(f"        NOTE {n}, {word:#x}\n"
                                                                               for n, word in self.notes.items()))

    def wanted(self):
        """Each line that it must print; `?`: any."""
        found = [one(self) if callable(one) else one for one in self.expected]
        return ["?" if one is None else f"{one & (1 << 64) - 1:016x}" for one in found]

    def assemble(self, folder, name):
        """The ELF file."""
        nasm = shutil.which("nasm")
        if not nasm:
            raise Trouble("nasm is not here (package nasm)")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text, middle, out, script = (folder / f"{name}.{end}" for end in ("asm", "o", "elf", "ld"))
        text.write_text("\n".join([self.placed(HEAD) + "\n".join(self.lines), LIBRARY + "\n".join(self.data), ""]))
        script.write_text(self.placed(SCRIPT))
        _run([nasm, "-f", "elf64", "-o", str(middle), str(text)])
        _run([_tool("ld"), "-m", "elf_x86_64", "-nostdlib", "-static", "-z", "max-page-size=4096", "-z", "noexecstack", "--build-id=none",
              "-T", str(script), "-o", str(out), str(middle)])
        self.symbols = Symbols(out)
        return out


NONE_SUCH = (6, 7, 11, 16, 19, 22, 27, 28, 31, 34, 47, 63, 64, 65, 255, 1 << 31, 1 << 32 | 17, 1 << 63, (1 << 64) - 1)
"""Numbers that are no call of Zeno's."""


def fold(p, sums):
    """Into the sum of registers that the guest prints: all that a call keeps."""
    p.op("mov [kept_rsp], rsp", "lea rsp, [stack + 0x2000]", "push rax", "mov rax, [sum]")
    for name in KEPT:
        p.op("rol rax, 7", f"xor rax, {name}")
        sums[0] = ((sums[0] << 7 | sums[0] >> 57) ^ sums[1][name]) & (1 << 64) - 1
    p.op("mov [sum], rax", "pop rax")


def calls(rng, count, unknown=8):
    """Hypercalls, with every register full, and rsp anywhere; one that is not finished at once."""
    p = Paravirtual(rng)
    p.data += ["sum: dq 0", "kept_rsp: dq 0", "done: dd 0, 0", "requests: times 1500 dq 1, 0"]
    sums = [0, {}]
    wild = (0, 8, 0xFFFF800000000000, 0xFFFF828000100000, 0xFFFF830000000000, 0x800000000000, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFF1)
    for number in rng.sample(NONE_SUCH, unknown) + [None] * count:
        domid = rng.choice((SELF, rng.randrange(1, SELF)))
        sums[1] = {name: p.word() for name in KEPT}
        wanted = ENOSYS
        if number is None:  # mmu_update of nothing: its fourth argument is who is meant
            number, wanted = 1, 0 if domid == SELF else EPERM
            sums[1].update(rsi=0, rdx=0, r10=domid)
        rsp = rng.choice(wild) if rng.random() < .7 else p.word()
        p.op(*(f"mov {name}, {value:#x}" for name, value in sums[1].items()), f"mov rsp, {rsp:#x}", f"mov rax, {number:#x}",
             f"mov rcx, {p.word():#x}", rng.choice(("std", "stc", "nop")), "syscall", "cld")
        if number == 1:  # a call may change the registers of its arguments
            p.op(*(f"mov {name}, 0" for name in ARGUMENTS[:4]))
            sums[1].update(dict.fromkeys(ARGUMENTS[:4], 0))
        fold(p, sums)
        p.say("[kept_rsp]", rsp)
        p.say("rax", wanted)
        p.say("[sum]", sums[0])
    # Requests to the table of frames that say nothing new: more than one exit may look at.
    many = rng.randrange(1100, MANY)
    p.op("mov rax, [info]", "mov rax, [rax + 104]", "mov rax, [rax + 0x100 * 8]", "shl rax, 12", "or rax, 1", "lea rdi, [requests]",
         f"mov ecx, {MANY}")
    p.label("each")
    p.op("mov [rdi], rax", "mov qword [rdi + 8], 0x100", "add rdi, 16", "loop each")
    p.call(1, "requests", many, "done", SELF)
    p.say("rax", 0)
    p.say("[done]", many)
    p.end()
    return p


def crossing(rng):
    """For whoever looks on: it asks for something, for ever."""
    p = Paravirtual(rng)
    p.op("mov eax, 17", "xor edi, edi", "syscall", "ud2")
    return p


TRAPS = """\
        align 8
traps:  db 6, 3
        dw 0xe033, 0, 0
        dq handler
        db 13, 3
        dw 0xe033, 0, 0
        dq handler
        db 14, 3
        dw 0xe033, 0, 0
        dq handler
        db 0x80, 3
        dw 0xe033, 0, 0
        dq handler
        times 16 db 0
next:   dq 0
"""

# Whatever lies from rsp up to the stack's aligned beginning is printed, and then it goes on at `next`.
HANDLER = """\
handler:
        mov [found_rsp], rsp
        mov rbx, rsp
        lea rsp, [stack + 0x2000]
        mov rax, rbx
        call put
        mov rcx, [words]
.word:  mov rax, [rbx]
        call put
        add rbx, 8
        loop .word
        mov rcx, [asks]
        jmp [next]
        section .data
found_rsp: dq 0
words:  dq 0
asks:   dq 0
        section .text
"""
FLAGS = 0x8D5
IF = 0x200


class Trapped(Paravirtual):
    """Exceptions one after the other, whose frames its handler prints."""

    def __init__(self, rng):
        super().__init__(rng)
        self.count = 0
        self.data.append(TRAPS)
        self.call(0, "traps")
        self.map_shared_page()  # upcalls are masked there

    def trap(self, kind):
        """One of them: its frame, word by word."""
        rng, n = self.rng, self.count
        self.count += 1
        here, after = f"fault{n}", f"after{n}"
        rcx, r11, flags = self.word(), self.word(), rng.getrandbits(12) & FLAGS | 2
        masked = rng.choice((0, 0, 1, rng.randrange(2, 256)))
        rsp = rng.randrange(0x800, 0x1f00)
        code, error, length = {"ud": ("ud2", None, 0), "gp": ("hlt", 0, 0), "int": ("int 0x80", None, 2),
                               "read": (f"mov al, [{0x7000 + n:#x}]", 0, 0),
                               "write": (f"mov [{0x7000 + n:#x}], al", 2, 0)}[kind]
        self.op(f"mov qword [words], {7 if error is None else 8}", f"lea rax, [{after}]", "mov [next], rax",
                f"mov byte [shared_page + 1], {masked}", f"mov rcx, {rcx:#x}", f"mov r11, {r11:#x}", "lea rsp, [stack + 0x2000]",
                f"push {flags:#x}", "popfq", f"lea rsp, [stack + {rsp:#x}]")
        self.label(here)
        self.op(code)
        self.op("ud2")
        self.label(after)
        words = 7 if error is None else 8
        self.expected += [lambda p: (p.at("stack") + rsp & ~15) - 8 * words, rcx, r11]
        self.expected += [] if error is None else [error]
        self.expected += [lambda p: p.at(here) + length, 0xE030 | masked << 32,
                          flags | (0 if masked else IF), lambda p: p.at("stack") + rsp, 0xe02b]

    def assemble(self, folder, name):
        self.lines += HANDLER.split("\n")
        return super().assemble(folder, name)


def frames(rng, count):
    """Its kernel's own faults, each with the frame that its handler finds."""
    p = Trapped(rng)
    kinds = ["ud", "gp", "int", "read", "write"]
    kinds += [rng.choice(kinds) for _ in range(count - len(kinds))]
    rng.shuffle(kinds)
    for kind in kinds:
        p.trap(kind)
    p.end()
    return p


USER = """\
        align 4096
user_root: times 512 dq 0
"""


def kernel_and_user(rng, count):
    """A kernel and its user on a root of its own; each of the user's calls and faults comes to it, and it goes back."""
    p = Trapped(rng)
    # The user's root: the kernel's entries, in a page that nobody can write any more.
    p.op("mov rbx, [info]", "mov rsi, [rbx + 88]", "lea rdi, [user_root]", "mov ecx, 512", "cld", "rep movsq", "mov r12, [rbx + 104]",
         "mov rax, user_root", f"mov rdx, {BASE:#x}", "sub rax, rdx", "shr rax, 12", "mov r13, [r12 + rax * 8]", "mov rsi, r13",
         "shl rsi, 12", "or rsi, 5", "mov rdi, user_root", "mov edx, 2", "mov eax, 14", "syscall")
    p.say("rax", 0)
    p.op("mov qword [request], 15", "mov [request + 8], r13")
    p.call(26, "request", 1, 0, SELF)
    p.say("rax", 0)
    p.call(3, SS, "kernel_stack + 0x1000")
    p.call(4, 0, 0, "called")
    bases = [rng.getrandbits(46) for _ in range(2)]
    p.call(25, 1, f"{bases[0]:#x}")  # the user's GS
    p.call(25, 2, f"{bases[1]:#x}")  # the kernel's
    for n in range(count):
        _visit(p, n, bases)
    p.end()
    p.data += ["align 16", "request: times 3 dq 0", USER]
    p.lines += CALLED.split("\n")
    return p


SS = 0xE02B
CALLED = """\
called:
        mov [found_rsp], rsp
        jmp handler
"""


def _visit(p, n, bases):
    """To the user, and back by one of its ways."""
    rng = p.rng
    kind = ("syscall", "ud", "read", "int")[n] if n < 4 else rng.choice(("syscall", "ud", "read", "int"))
    masked, by_syscall = rng.randrange(2), rng.randrange(2)
    rax, rcx, r11, flags = p.word(), p.word(), p.word(), rng.getrandbits(12) & FLAGS | 2
    rsp = rng.getrandbits(47)
    error = 4 if kind == "read" else None
    here, after = f"user{n}", f"kernel{n}"
    code = {"syscall": "syscall", "ud": "ud2", "int": "int 0x80", "read": f"mov al, [{0x5000 + n:#x}]"}[kind]
    p.op(f"mov qword [words], {7 if error is None else 8}", f"lea rax, [{after}]",
         "mov [next], rax", "lea rsp, [stack + 0x2000]", f"push {SS}", f"mov rax, {rsp:#x}", "push rax",
         f"push {flags | (0 if masked else IF):#x}", "push 0xe033", f"lea rax, [{here}]", "push rax", f"push {0x100 if by_syscall else 0}",
         f"mov rax, {rcx:#x}", "push rax", f"mov rax, {r11:#x}", "push rax", f"mov rax, {rax:#x}", "push rax",
         "mov eax, 23", "syscall")
    p.label(here)
    p.op(code, "ud2")
    p.label(after)
    length = 2 if kind in ("syscall", "int") else 0
    p.expected.append(lambda q: q.at("kernel_stack") + 0x1000 - 8 * (7 if error is None else 8))
    # With the flag the two are not the frame's, but what the kernel's own syscall has left: where it stood, and its flags.
    if kind == "syscall":
        p.expected += [lambda q: q.at(here) + 2, lambda q: flags | IF]
    elif by_syscall:
        p.expected += [lambda q: q.at(here), None]
    else:
        p.expected += [rcx, r11]
    p.expected += [] if error is None else [error]
    p.expected += [lambda q: q.at(here) + length, 0xE033 | masked << 32, flags | (0 if masked else IF), rsp, SS]


def rootless(rng):
    """To itself, which is no end; and to its user, which has no root."""
    p = Paravirtual(rng)
    rax, rcx = p.word(), p.word()
    p.op(f"push {SS}", "lea rax, [stack + 0x1800]", "push rax", f"push {IF}", "push 0xe030", "lea rax, [itself]", "push rax", "push 0",
         f"mov rax, {rcx:#x}", "push rax", "push 0", f"mov rax, {rax:#x}", "push rax", "mov eax, 23", "syscall", "ud2")
    p.label("itself")
    p.say("rax", rax)
    p.say("rcx", rcx)
    p.op(f"push {SS}", "push 0", f"push {IF}", "push 0xe033", *("push 0",) * 5, "mov eax, 23", "syscall", "ud2")
    return p
