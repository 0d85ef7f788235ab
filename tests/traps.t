#!/usr/bin/env python3
"""Every trap vector, from ring 0 and from a ring 1 of this test's own, watched from outside.

QEMU's stub puts an instruction where the host stands, lets it run, and looks at what arrives where:
the frame, the stack, the flags, and that all registers come back.
"""

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import finish, ok  # noqa: E402
from stopped import P, W, NX, Stopped, need_qemu  # noqa: E402
from zeno.judging import headers  # noqa: E402

FRAME = ["r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8", "rdi", "rsi", "rbp", "rbx", "rdx",
         "rcx", "rax", "vector", "error", "rip", "cs", "rflags", "rsp", "ss"]
SIZE = 8 * len(FRAME)
GPRS = FRAME[:15]
RING_FRAME = FRAME[15:]  # of a trap from an outer ring; its registers stay where they are
WITH_ERROR = {8, 10, 11, 12, 13, 14, 17, 21, 29, 30}
IST = {2: 1, 1: 2, 8: 3, 18: 4}
DF, NT, AC, OF, TF, IF = 0x400, 0x4000, 0x40000, 0x800, 0x100, 0x200
FREE = 0x3000000  # RAM that nobody uses: the page allocator keeps its links elsewhere
CODE, STACK, ABSENT = 0x1000, 0x2000, 0x5000
GDT_WINDOW, = headers.numbers(("kern/map.h",), ("GDT_WINDOW",))

# TCG shifts the vector by 4 in long mode; a CPU's error code would be 0x80 * 8 + 2 (SDM 3A 6.13).
QEMU_INT = 0x80 * 16 + 2


class Ring0:
    """Instructions in the place where the host stands."""

    def __init__(self, host):
        self.host, self.gdb = host, host.gdb
        self.here = host.at("sched_loop")
        self.trap_host = host.at("trap_host")
        self.rsp = self.gdb.regs()["rsp"]
        self.before = {name: 0x1111111111111111 * (n + 1) & (1 << 64) - 1
                       for n, name in enumerate(GPRS)}

    def run(self, code, stop, flags=2, **registers):
        """Run `code` from a clean start; the registers at `stop`."""
        for name, value in {**self.before, "rip": self.here, "rsp": self.rsp, "eflags": flags,
                            **registers}.items():
            self.gdb.set_reg(name, value)
        self.gdb.write(self.here, code)
        self.host.run_to(stop)
        return self.gdb.regs()

    def frame(self, address):
        """A struct trap_frame."""
        return dict(zip(FRAME, self.host.words(address, len(FRAME))))

    def ring_frame(self, address):
        """A struct ring_frame, from its vector on."""
        return dict(zip(RING_FRAME, self.host.words(address, len(RING_FRAME))))

    def home(self, regs, wanted):
        """Let trap_host() return at once; the registers after the instruction that differ."""
        self.gdb.set_reg("rip", self.host.words(regs["rsp"])[0])
        self.gdb.set_reg("rsp", regs["rsp"] + 8)
        self.host.run_to(wanted["rip"])
        after = self.gdb.regs()
        return {name: hex(after[name]) for name in (*GPRS, "rsp", "rip")
                if after[name] != wanted[name]}


def software(ring0, tss):
    """`int n` for each vector whose frame it makes; the others are told apart by their stubs."""
    wrong, back = [], []
    ists = struct.unpack("<4Q", ring0.gdb.read(tss + 36, 32))
    for vector in sorted(set(range(256)) - WITH_ERROR):
        regs = ring0.run(bytes([0xCD, vector]), ring0.trap_host, flags=2 | DF)
        frame = ring0.frame(regs["rdi"])
        top = ists[IST[vector] - 1] if vector in IST else ring0.rsp & ~15
        wanted = {**ring0.before, "vector": vector, "error": 0, "rip": ring0.here + 2, "cs": 0xE008,
                  "rflags": 2 | DF, "rsp": ring0.rsp, "ss": 0}
        differs = {name: hex(frame[name]) for name in FRAME if frame[name] != wanted[name]}
        if regs["rdi"] != top - SIZE or regs["rsp"] != top - SIZE - 8 or regs["eflags"] & (DF | IF):
            differs["place"] = hex(regs["rdi"])
        if differs:
            wrong.append(f"{vector}: {differs}")
        lost = ring0.home(regs, {**ring0.before, "rsp": ring0.rsp, "rip": ring0.here + 2})
        if lost:
            back.append(f"{vector}: {lost}")
    ok(not wrong, "246 vectors by `int n`: frame, its place, DF and IF clear",
       wrong="\n".join(wrong))
    ok(not back, "and all registers come back from each", wrong="\n".join(back))


def stubs(ring0, idt):
    """A stub pushes a zero exactly where the CPU pushes no error code."""
    wrong = []
    for vector in range(256):
        low, high = ring0.host.words(idt + 16 * vector, 2)
        stub = (low & 0xFFFF) | (low >> 48) << 16 | (high & 0xFFFFFFFF) << 32
        pushes = ring0.gdb.read(stub, 2) == b"\x6a\x00" and vector != 0
        if vector == 0:
            pushes = ring0.gdb.read(stub, 4) == b"\x6a\x00\x6a\x00"
        if pushes == (vector in WITH_ERROR):
            wrong.append(vector)
    ok(not wrong, "a zero is pushed where the CPU pushes no error code, and only there",
       wrong=wrong)


def faults(ring0):
    """Faults of the host with an error code."""
    for name, code, registers, vector, error in (
            ("#GP, a selector beyond the GDT", b"\x8e\xd8", {"rax": 0xFEED}, 13, 0xFEEC),
            ("#GP, no code", b"\x8e\xd8", {"rax": 0xE023}, 13, 0xE020),
            ("#PF, page 0 read", b"\x8a\x00", {"rax": 0}, 14, 0),
            ("#PF, text written", b"\x88\x00", {"rax": ring0.here}, 14, 3),
            ("#PF, read-only window written", b"\x88\x00", {"rax": GDT_WINDOW}, 14, 3),
            ("#UD", b"\x0f\x0b", {}, 6, 0),
            ("#UD of syscall", b"\x0f\x05", {}, 6, 0)):
        regs = ring0.run(code, ring0.trap_host, **registers)
        frame = ring0.frame(regs["rdi"])
        got = (frame["vector"], frame["error"], frame["rip"])
        ok(got == (vector, error, ring0.here), f"ring 0: {name}", got=[hex(n) for n in got])


class Ring1:
    """A page of 32-bit code in ring 1, made by writing page tables and descriptors from outside."""

    def __init__(self, ring0, root, tss):
        self.ring0, self.gdb, host = ring0, ring0.gdb, ring0.host
        self.nobody = host.at("nobody_exits")
        self.end = struct.unpack("<Q", self.gdb.read(tss + 4, 8))[0]
        zeros = next(page.pa for page in host.pages(root, 260, 260) if page.va == GDT_WINDOW)
        self.gdb.write(zeros + 8, struct.pack("<QQ", 0x00CFBB000000FFFF, 0x00CFB3000000FFFF),
                       physical=True)
        tables = [FREE, FREE + 0x1000, FREE + 0x2000]
        for table in tables:
            self.gdb.write(table, bytes(0x1000), physical=True)
        for entry, table in zip((root, *tables), tables):
            self.gdb.write(entry, struct.pack("<Q", table | P | W), physical=True)
        self.gdb.write(tables[2] + 8, struct.pack("<QQ", FREE + 0x3000 | P,
                                                  FREE + 0x4000 | P | W | NX), physical=True)

    def run(self, code, flags=2, **registers):
        """iretq to ring 1; (registers at ring_exit's target, the frame)."""
        self.gdb.write(FREE + 0x3000, code.ljust(16, b"\x90"), physical=True)
        rsp = self.ring0.rsp - 64 & ~15
        self.gdb.write(rsp, struct.pack("<5Q", CODE, 9, flags, STACK + 0x800, 0x11))
        regs = self.ring0.run(b"\x48\xcf", self.nobody, **{"rsp": rsp, **registers})
        return regs, self.ring0.ring_frame(regs["rsp"])


CASES = (  # what, code, flags, registers, vector, error, rip
    ("cli", b"\xfa", 2, {}, 13, 0, 0),
    ("hlt", b"\xf4", 2, {}, 13, 0, 0),
    ("out", b"\xe6\x80", 2, {}, 13, 0, 0),
    ("mov cr3", b"\x0f\x22\xd8", 2, {}, 13, 0, 0),
    ("lgdt", b"\x0f\x01\x15\x00\x20\x00\x00", 2, {}, 13, 0, 0),
    ("int 0x80", b"\xcd\x80", 2, {}, 13, QEMU_INT, 0),
    ("int3", b"\xcc", 2, {}, 3, 0, 1),
    ("into", b"\xce", 2 | OF, {}, 4, 0, 1),
    ("a single step: #DB through its IST", b"\x90", 2 | TF, {}, 1, 0, 1),
    ("ud2", b"\x0f\x0b", 2, {}, 6, 0, 0),
    ("syscall", b"\x0f\x05", 2, {}, 6, 0, 0),
    ("sysenter", b"\x0f\x34", 2, {}, 13, 0, 0),
    ("a page that is not there", b"\xa1" + struct.pack("<I", ABSENT), 2, {}, 14, 0, 0),
    ("a write to a read-only page", b"\xa3" + struct.pack("<I", CODE), 2, {}, 14, 3, 0),
    ("the host's data segment", b"\x8e\xd8", 2, {"rax": 0xE010}, 13, 0xE010, 0),
    ("the user's data segment", b"\x8e\xd8", 2, {"rax": 0xE02B}, 13, 0xE028, 0),
    ("a jump to the host's code", b"\xea\0\0\0\0\x08\xe0", 2, {}, 13, 0xE008, 0),
    ("a jump to the user's code", b"\xea\0\0\0\0\x33\xe0", 2, {}, 13, 0xE030, 0),
    ("a jump to the TSS", b"\xea\0\0\0\0\x40\xe0", 2, {}, 13, 0xE040, 0),
    ("int3 with DF, NT and AC", b"\xcc", 2 | DF | NT | AC, {}, 3, 0, 1),
)


def outer(ring1):
    """What a guest in ring 1 can do, seen where it arrives."""
    for what, code, flags, registers, vector, error, length in CASES:
        regs, frame = ring1.run(code, flags, **registers)
        before = {**ring1.ring0.before, **registers}
        wrong = {name: hex(value) for name, value in (
            ("vector", frame["vector"] ^ vector), ("error", frame["error"] ^ error),
            ("rip", frame["rip"] ^ CODE + length), ("cs", frame["cs"] ^ 9),
            ("ss", frame["ss"] ^ 0x11), ("rsp", frame["rsp"] ^ STACK + 0x800),
            ("rflags", (frame["rflags"] ^ flags) & ~0x10000),  # RF: see FLAG_RF, machines differ
            *((name, (regs[name] ^ before[name]) & 0xFFFFFFFF) for name in GPRS if not name[1:].isdigit()),
            ("r15", regs["r15"] ^ before["r15"]),
            ("place", regs["rsp"] ^ ring1.end - 8 * len(RING_FRAME)), ("host's cs", regs["cs"] ^ 0xE008),
            ("host's flags", regs["eflags"] & (NT | TF | IF))) if value}
        ok(not wrong, f"ring 1: {what}", differs=wrong)


def blamed():
    """A segment load that faults where the exception table knows of it."""
    host = Stopped(mem=64, variant="lab1-solution", lab=1)
    try:
        gdb, load = host.gdb, host.at("te_load_data_segments")
        rsp, here = gdb.regs()["rsp"] - 64 & ~15, gdb.regs()["rip"]
        selectors = rsp + 16
        for name, order in (("ES", 0), ("DS", 3), ("FS", 4), ("GS", 5)):
            words = [0] * 6
            words[order] = 0xFEED + 8 * order
            gdb.write(rsp, struct.pack("<QQ6H", here, 0, *words))
            for register, value in (("rip", load), ("rsp", rsp), ("rdi", selectors), ("rbx", 99)):
                gdb.set_reg(register, value)
            host.run_to(here)
            regs = gdb.regs()
            got = (regs["rax"], regs["rsp"], regs["rbx"])
            ok(got == ((words[order] & ~3) << 32 | 13, rsp + 8, 99),
               f"exception table: a bad selector for {name}", got=[hex(n) for n in got])
    finally:
        host.end()


def main():
    """Two machines, one after the other."""
    need_qemu()
    host = Stopped(mem=64)
    try:
        cpu = host.cpu()
        ring0 = Ring0(host)
        software(ring0, cpu["tr_base"])
        stubs(ring0, cpu["idt_base"])
        faults(ring0)
        outer(Ring1(ring0, cpu["cr3"], cpu["tr_base"]))
    finally:
        host.end()
    blamed()
    finish()


if __name__ == "__main__":
    main()
