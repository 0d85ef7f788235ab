"""The host kernel, stopped from outside, for tests that look at the machine itself."""

import os
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "grade"))
from zeno.judging import headers  # noqa: E402
from zeno.machines import machine  # noqa: E402
from zeno.machines.qmp import parse_registers  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

KB, DIRECT = headers.numbers(("kern/map.h",), ("KB", "DIRECT_MAP"))
P, W, U, PS, NX = 1, 2, 4, 0x80, 1 << 63
ADDRESS = 0x000FFFFFFFFFF000


def nested_leaves(table_at, root):
    """[(gfn, mfn, frames, flags)] of every leaf of nested tables, NPT's or EPT's, and [(gfn, entry)] of what is not there
    and not empty. `table_at` gives the words of a table."""
    found, odd = [], []

    def table(at, level, base):
        for i, entry in enumerate(table_at(at)):
            gfn, size = base + (i << 9 * (level - 1)), 1 << 9 * (level - 1)
            if not entry & P:
                odd.extend([(gfn, entry)] if entry else [])
            elif level == 1 or (level < 4 and entry & PS):
                found.append((gfn, (entry & ADDRESS) >> 12, size, entry & ~ADDRESS))
            else:
                table(entry & ADDRESS, level - 1, gfn)

    table(root, 4, 0)
    return found, odd


class Page:
    """A leaf of the page tables with the rights that the way to it leaves over."""

    def __init__(self, va, pa, size, rights):
        self.va, self.pa, self.size = va, pa, size
        self.writable, self.user, self.executable = rights

    def __repr__(self):
        return (f"{self.va:#x} -> {self.pa:#x} ({self.size >> 10} KiB) "
                f"{'W' if self.writable else 'R'}{'X' if self.executable else ''}"
                f"{'U' if self.user else ''}")


class Stopped:
    """A machine that stands at `symbol`; `gdb` is the stub's client."""

    def __init__(self, symbol="sched_loop", variant="lab0-solution", lab=0, **setup):
        solution = ["SOLUTION=1"] if variant.endswith("-solution") else []
        build = ROOT / "build" / variant
        env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        made = subprocess.run(["make", "-s", f"LAB={lab}", *solution,
                               f"build/{variant}/zeno.mb"],
                              cwd=ROOT, capture_output=True, text=True, check=False, env=env)
        if made.returncode:
            print(f"Bail out! the kernel does not build: {(made.stderr or made.stdout)[-500:]!r}")
            sys.exit(1)
        self.symbols = Symbols([build / "zeno.elf"])
        limits = machine.Limits(instructions=None, cpu_seconds=300)
        self.live = machine.start(kernel=build / "zeno.mb", elf=[build / "zeno.elf"], paused=True,
                                  idle=False, limits=limits, **setup)
        self.gdb = self.live.gdb()
        self.run_to(self.at(symbol))

    def at(self, name):
        """A symbol's address."""
        return self.symbols.address(name)

    def run_to(self, address):
        """Go on until rip is there."""
        self.gdb.insert(address)
        self.gdb.cont()
        self.gdb.remove(address)
        assert self.gdb.regs()["rip"] == address, hex(self.gdb.regs()["rip"])

    def call(self, name, *arguments):
        """Let the host call one of its C functions; what it returns."""
        before = self.gdb.regs()
        rsp = (before["rsp"] - 256 & ~15) - 8
        self.gdb.write(rsp, struct.pack("<Q", before["rip"]))
        for register, value in zip(("rip", "rsp", "rdi", "rsi", "rdx", "rcx"),
                                   (self.at(name), rsp, *arguments)):
            self.gdb.set_reg(register, value)
        self.run_to(before["rip"])
        result = self.gdb.regs()["rax"]
        self.gdb.set_reg("rsp", before["rsp"])
        return result

    def cpu(self):
        """Everything that QEMU's monitor says of the CPU: also gdt_base, idt_base, tr_base."""
        return parse_registers(self.live.qmp.human("info registers"))

    def words(self, address, count=1, physical=False):
        """Words of 64 bits."""
        return struct.unpack(f"<{count}Q", self.gdb.read(address, 8 * count, physical))

    def pages(self, root, first=0, last=511):
        """Every Page of the root (physical address), read out of physical memory."""
        yield from self._table(root, 4, 0, (True, True, True), range(first, last + 1))

    def _table(self, table, level, base, rights, indices=range(512)):
        shift = 12 + 9 * (level - 1)
        entries = self.words(table, 512, physical=True)
        for i in indices:
            entry = entries[i]
            if not entry & P:
                continue
            va = base | i << shift
            if level == 4 and i >= 256:
                va |= 0xFFFF << 48
            mine = (rights[0] and bool(entry & W), rights[1] and bool(entry & U),
                    rights[2] and not entry & NX)
            pa = entry & ADDRESS
            if level == 1 or (level < 4 and entry & PS):
                yield Page(va, pa & ~((1 << shift) - 1), 1 << shift, mine)
            else:
                yield from self._table(pa, level - 1, va, mine)

    def end(self):
        """Let go of the machine."""
        self.live.stop()
        run = self.live.wait()
        run.cleanup()


def need_qemu():
    """Skip the whole file where there is no QEMU."""
    why = machine.missing("qemu")
    if why:
        print(f"1..0 # SKIP {why}")
        sys.exit(0)
