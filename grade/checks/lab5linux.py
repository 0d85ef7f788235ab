"""Lab 5's reward: Debian's 64-bit Linux comes to its prompt, with two CPUs, and its shell does what is typed.

A kernel can print a prompt itself. So a program that was made for this run comes with Linux' RAM disk and is called by name at
the shell: it makes system calls, a number of them that nobody knows before, and prints what no other program does. QEMU's
plugin counts from outside how often the CPU is, inside of a guest by VMRUN, at the program's loop, at its own address, and at
Linux' entry for system calls, which is found in the kernel that Debian packed; and how many blocks of that kernel it comes to.
"""

import lzma
import struct

from zeno.guests import programs
from zeno.judging.evidence import lives
from zeno.judging.tools import tool
from zeno.judging.trial import Skipped, Trouble
from zeno.machines import elf, machine

LIMITS = machine.Limits(instructions=8_000_000_000, cpu_seconds=300)
MEMORY = 256  # the host's, MiB
ENTRY = bytes.fromhex("0f01f8 65488924 25")  # swapgs; mov [gs:..], rsp: entry_SYSCALL_64() alone begins so
BLOCKS = 20000  # of Linux' own code; with what Debian has today there are 44,000
SYS_WRITE, SYS_EXIT, SYS_GETPPID = 1, 60, 110
ALL = (1 << 64) - 1
SOURCE = """
        bits 64
        org {base:#x}
head:   db 0x7f, "ELF", 2, 1, 1
        times 9 db 0
        dw 2, 62
        dd 1
        dq start, 64, 0
        dd 0
        dw 64, 56, 1, 0, 0, 0
        dd 1, 7
        dq 0, head, head, size, size, 0x1000
        times {gap} int3
start:  mov r12d, {rounds}
        mov rbx, {first:#x}
again:  mov eax, {getppid}
        syscall
        rol rbx, {turn}
        mov rax, {factor:#x}
        imul rbx, rax
        mov eax, cs
        add rbx, rax
        dec r12d
        jnz again
        mov ecx, 16
digit:  rol rbx, 4
        mov eax, ebx
        and eax, 15
        mov al, [digits + rax]
        mov [out + 16 + r12], al
        inc r12
        loop digit
        mov eax, {write}
        mov edi, 1
        lea rsi, [out + 16]
        mov edx, 17
        syscall
        mov eax, {exit}
        mov edi, {status}
        syscall
digits: db "0123456789abcdef"
out:    times 32 db 0
        db 10
size:   equ $ - head
"""
USER_CS = 0x33  # Linux' for programs of 64 bits


class Program:
    """A program for Linux that was made for this run: what it prints, and where its loop is."""

    def __init__(self, t):
        draw = t.rng
        self.name = f"p{draw.getrandbits(48):012x}"
        self.rounds, self.status = draw.randrange(3000, 6000), draw.randrange(1, 100)
        first, factor, turn = draw.getrandbits(64), draw.getrandbits(63) | 1 << 63 | 1, draw.randrange(1, 63)
        base, gap = 0x1000 * draw.randrange(0x1000, 0x70000), draw.randrange(1, 2000)
        source = SOURCE.format(base=base, gap=gap, rounds=self.rounds, first=first, factor=factor, turn=turn, status=self.status,
                               getppid=SYS_GETPPID, write=SYS_WRITE, exit=SYS_EXIT)
        self.file = programs.assemble_flat(source, t.path("program"), self.name)
        self.loop = base + self.file.read_bytes().index(struct.pack("<BI", 0xb8, SYS_GETPPID))
        value = first
        for _ in range(self.rounds):
            value = ((value << turn | value >> 64 - turn) * factor + USER_CS) & ALL
        self.prints = f"{value:016x}"


def text_of(image):
    """Of Linux in a bzImage: the bytes that its entry for system calls lies in, their linear address, and the entry's. Trouble where
    that is none that is known here: who grades is to hear of it, for else nobody would ever have this reward."""
    vmlinux = tool("vmlinux")
    try:
        kernel = elf.ElfFile(vmlinux.unpacked(image))
    except (vmlinux.NotUnpacked, lzma.LZMAError, ValueError) as error:
        raise Trouble(f"this Linux can't be looked into: {error}") from None
    for one in kernel.segments:
        if one.data.count(ENTRY) == 1:
            return one.data, one.va, one.va + one.data.find(ENTRY)
    raise Trouble("the entry for system calls is not found in this Linux: it is a version that is not known here")


def linux(t):
    """Debian's Linux, or Skipped in one line that says how to get it."""
    guest = tool("linux_guest")
    if all(one.machine != "qemu" for one in t.lab.flavours):
        raise Skipped("it is for AMD-V in QEMU, and Lab 4s is not done")
    if not guest.here(guest.LINUX_64):
        raise Skipped("Debian's Linux is not here; `make linux` fetches it")
    return guest


def prompt(t):
    """Linux' shell, a program that it calls, and what the CPU did for that."""
    guest = linux(t)
    place, program = guest.LINUX_64.place, Program(t)
    text, base, entry = text_of((place / "linux64").read_bytes())
    t.path("text").write_bytes(text)
    a, b = t.rng.randrange(1000, 10**4), t.rng.randrange(1000, 10**4)
    copy = f"cp /lib/{program.file.name} /tmp/{program.name}; chmod 700 /tmp/{program.name}; grep -c ^processor /proc/cpuinfo"
    initrd = t.path("initrd64")
    initrd.write_bytes(guest.initrd((place / "busybox").read_bytes(), f"{copy}\n".encode(), [program.file]))
    typed = f"_/tmp/{program.name}_echo~$?~$(({a}*{b}))~typed_exit_"
    words = f"mem=128 platform=pc-apic vcpus=2 boot=linux -- initrd=initrd64 {guest.CMDLINE_64} shell"
    run = t.boot(f"panic=off -- start linux64 -- input={typed}; off", mem=MEMORY, idle=False, icount=True, limits=LIMITS,
                 modules=[(place / "linux64", words), (initrd, "")], watch=(program.loop, entry), known=(t.path("text"), base))
    output = b"".join(one.output for one in lives(run)).decode("utf-8", "replace").replace("\r", "")
    end = output[-1500:]
    t.check(f"zeno# {copy}\n2\n" in output, f"Linux does not come to its first program with two CPUs: `make qemu LAB={t.lab.name} "
            'LINUX=1 APPEND="-- start linux64 vcpus=2"` shows how far it comes', "a line with 2, which is the number of its CPUs", end)
    said = f"zeno# /tmp/{program.name}\n{program.prints}\nzeno# echo $? $(({a}*{b})) typed\n{program.status} {a * b} typed\n"
    t.check(said in output, "its shell does not do what is typed", said, end)
    t.orderly(run)
    loop, calls = (run.counts.watches.get(at, 0) for at in (program.loop, entry))
    t.check(loop == program.rounds and calls > program.rounds, "what was printed was not done by Linux: the CPU was not as often "
            "in the program's loop as it has rounds, or less often at Linux' entry for system calls",
            f"{program.rounds} times in the loop, and more often at the entry", f"{loop} and {calls} times")
    t.check(run.counts.known >= BLOCKS, "what was printed was not done by Linux: the guest came to too little of its kernel",
            f"{BLOCKS} blocks, at least", f"{run.counts.known} blocks")
    t.notes.append(f"the guest came to {run.counts.known} blocks of Debian's kernel")
    t.notes.append(f"{calls} times the CPU entered Linux for a system call, {program.rounds} times for a program made for this run")
