#!/usr/bin/env python3
"""The page fault's way is one straight walk: from the CPU's #PF in a guest of te, with shadow paging, to the first instruction
of the guest's own handler, stepped through from outside. A stay is a call (or a jump) from one folder of the host's to a
function of another; a return is none, and what is inlined is where it is inlined to."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

HOST, NANO = ROOT / "build/lab2-solution/zeno", ROOT / "build/guest/nano.elf"
SYMBOLS = Symbols([HOST.with_suffix(".elf")])
HIGH = 0xFFFF800000000000
MOST = 15  # stays
SETTLED = 200  # faults before the one that is looked at
LIMIT = machine.Limits(instructions=1_000_000_000, cpu_seconds=120)
ASKED = "event_page_fault"  # each fault of the guest's own goes through here, and no hidden one does
DISPATCH = "exit_dispatch"


def function(rip):
    """The function that an instruction is in; a label of assembly's may be one, and a part out of line is none of its own."""
    name = (SYMBOLS.name(rip) or "?").split("+")[0]
    return name.removesuffix(".cold") if name != "?" else f"?{rip:x}"


def walk():
    """The host's instructions from a #PF that is the guest's own to where the guest goes on; and where that is."""
    with machine.start(kernel=HOST.with_suffix(".mb"), icount=True, paused=True, modules=[(NANO, "")], limits=LIMIT, cpu="te",
                       cmdline="panic=off -- start nano engine=te; off") as live:
        gdb, asked = live.gdb(), SYMBOLS.address(ASKED)
        gdb.insert(asked)
        for _ in range(SETTLED):
            gdb.cont()
        gdb.remove(asked)
        seen = []
        for _ in range(20_000):
            gdb.step()
            rip = gdb.regs()["rip"]
            if rip >= HIGH:
                seen.append(rip)
            elif seen and asked in seen and function(seen[0]) == "trap_14":
                break
            else:
                seen = []
        live.stop()
        live.wait().cleanup()
    return seen, rip


def folders(names):
    """{function: its folder}"""
    at = {name: int(name[1:], 16) if name[0] == "?" else SYMBOLS.address(name) for name in set(names)}
    out = subprocess.run(["addr2line", "-e", HOST.with_suffix(".elf"), *map(hex, at.values())],
                         capture_output=True, text=True, check=True).stdout.split("\n")
    found = {name: re.search(r"\b(kern|vmm|solutions)(/[\w-]+)*(?=/[\w.]+:\d)", line) for name, line in zip(at, out)}
    return {name: match[0] if match else "?" for name, match in found.items()}, set(at.values())


def main():
    if machine.missing("qemu"):
        skip("the page fault's way", machine.missing("qemu"))
        finish()
    rips, last = walk()
    names = [function(rip) for rip in rips]
    ok(rips and last < HIGH, "a page fault of the guest's own is stepped through", steps=len(rips), last=hex(last))
    folder, starts = folders(names)
    ok("?" not in folder.values() and {"kern", "vmm", "vmm/te", "vmm/mmu/shadow"} < set(folder.values()),
       "each function has its folder", folder=folder)
    stays = [f"{folder[old]} {old} -> {folder[new]} {new}" for (old, _), (new, rip) in pairwise(zip(names, rips))
             if folder[old] != folder[new] and rip in starts]
    ok(len(stays) >= 8, "it leads from kern through te and the shadows to its handler", stays="\n".join(stays))
    ok(len(stays) <= MOST, f"and makes at most {MOST} stays", stays="\n".join(stays))
    ok(rips.count(SYMBOLS.address(DISPATCH)) == 1, "it is dispatched once", dispatched=rips.count(SYMBOLS.address(DISPATCH)))
    ok(len(stays) == len(set(stays)) + 1, "to read an entry of a page table is all that is done twice", stays="\n".join(stays))
    finish()


main()
