#!/usr/bin/env python3
"""An interrupt at each instruction of an iret that bt does inside of its cache (vmm/bt/iret.c), while guest/ways goes its ways.

The machine is stopped from outside at each instruction in turn, and gets an NMI there; then, in a boot of its own, at each third
one (make check-all: at each) a tick of the host's clock, which the flags let in. The host must be told of it at that very address,
and the guest must come to the end that it has on the bare machine. With exercise 3.8 as handed out the CPU goes on through the
iret behind an interrupt in the middle of it: one NMI there, and the same end.
"""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok, run  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import gdbremote, machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

HOST = ROOT / "build/lab3-solution"
BUT_STEPS = "3.1 3.2 3.3 3.4 3.5 3.6 3.7"
WAYS = ROOT / "build/guest/ways.elf"
COUNT = 1193182 // 100
LIMIT = machine.Limits(instructions=2_000_000_000, cpu_seconds=120)
CODE, SIZE = 0xFFD00000, 0x40000  # where the cache's code is, and more of it than this guest fills
FIRST = re.compile(rb"\x65\x89\x05....\x8b\x44\x24\x08\x65\x89\x05....\x65\x8b\x05....\x8b\x44\x24\x04", re.S)
JUMP = b"\x65\xff\x25"  # the end of an indirect branch
NMI, TICK = 2, 0x20
# The 8254's channel 0 low, and high again with the host's count: in mode 3 it is so at once.
PIT = ("o /b 0x43 0x30", "o /b 0x40 1", "o /b 0x40 0", "o /b 0x43 0x36", f"o /b 0x40 {COUNT & 255}", f"o /b 0x40 {COUNT >> 8}")
FIRST_CAUSE = "an NMI"
CAUSES = {FIRST_CAUSE: (NMI, ("nmi",)), "a tick": (TICK, PIT)}
SOME = 16
LEAST = 20  # instructions of each way


def lines(text):
    return re.findall(r"^(?:d1\| )?(.* in ring [03]: .*|read first: .*|that is all)$", text.replace("\r", ""), re.M)


def sequence(gdb, returned):
    """Where irets begin in the cache, when some of them have led to ring 3, and others to ring 0."""
    gdb.insert(returned)
    for _ in range(SOME):
        gdb.cont()
    gdb.remove(returned)
    code = b"".join(gdb.read(CODE + at, 4096) for at in range(0, SIZE, 4096) if mapped(gdb, CODE + at))
    return [CODE + found.start() for found in FIRST.finditer(code)]


def mapped(gdb, address):
    try:
        return gdb.read(address, 1)
    except gdbremote.Refused:
        return b""


def goes_to(gdb, ring, starts):
    """The addresses of the instructions of one iret, the first that goes the whole way to this ring, and of the one behind it."""
    while True:
        for at in starts:
            gdb.insert(at)
        gdb.cont()
        for at in starts:
            gdb.remove(at)
        places, bytes_ = [gdb.regs()["rip"]], b""
        while gdb.cpl() == 1 and len(places) < 64 and bytes_ != JUMP:
            bytes_ = gdb.read(places[-1], 3)
            gdb.step()
            places.append(gdb.regs()["rip"])
        if gdb.cpl() == (ring or 1):
            return places


def interrupted(gdb, place, stub, cause=("nmi",)):
    """Where the host is told that the interrupt came; it is caused at `place`."""
    gdb.insert(place)
    gdb.cont()
    gdb.remove(place)
    for command in cause:
        gdb.monitor(command)
    gdb.insert(stub)
    gdb.cont()
    gdb.remove(stub)
    return int.from_bytes(gdb.read(gdb.regs()["rsp"], 8), "little")


def told(text):
    """What is compared."""
    return [line for line in lines(text) if not line.startswith("~")]


def beside(expected):
    """With its GDT on the page of its stack, which bt looks at on the way to ring 3: no iret is the CPU's then."""
    done = machine.boot(kernel=HOST / "zeno.mb", cpu="te", limits=LIMIT, modules=[(str(WAYS), "")],
                        cmdline="panic=off -- start ways engine=bt -- gdt=beside; off")
    got = told(done.text())
    done.cleanup()
    ok(got == expected, "and with a GDT beside its stack",
       different="\n".join(f"{a}   |   {b}" for a, b in zip(expected, got) if a != b))


def gone_through(expected):
    """Without 3.8, which stops at the next boundary: one NMI in the middle of the way to ring 3."""
    built = run("make", "-s", "-C", ROOT, "LAB=3", f"REF={BUT_STEPS}", "build")
    if not ok(built.status == 0, "with 3.8 as handed out it builds", out=built.out):
        return
    host = ROOT / "build" / f"lab3-ref-{BUT_STEPS}".replace(" ", "-")
    symbols = Symbols([host / "zeno.elf"])
    with machine.start(kernel=host / "zeno.mb", cpu="te", limits=LIMIT, modules=[(str(WAYS), "")], paused=True,
                       cmdline="panic=off -- start ways engine=bt; off") as live:
        gdb = live.gdb()
        places = goes_to(gdb, 3, sequence(gdb, symbols.address("bt_returned")))
        interrupted(gdb, places[len(places) // 2], symbols.address(f"trap_{NMI}"))
        gdb.detach()
        done = live.wait()
        text = done.text()
        done.cleanup()
    ok("ways: ended: exit code 0" in text and told(text) == expected, "and goes on behind an NMI in its middle",
       text=text[-1500:])


def at_each(what, expected):
    """The guest's ways, with one such interrupt at each instruction of an iret to ring 3 and of one to ring 0."""
    vector, cause = CAUSES[what]
    symbols = Symbols([HOST / "zeno.elf"])
    with machine.start(kernel=HOST / "zeno.mb", cpu="te", limits=LIMIT, modules=[(str(WAYS), "")], paused=True,
                       cmdline="panic=off -- start ways engine=bt; off") as live:
        gdb = live.gdb()
        starts = sequence(gdb, symbols.address("bt_returned"))
        for ring in (3, 0):
            places = goes_to(gdb, ring, starts)
            ok(len(places) > LEAST, f"an iret goes to ring {ring} inside of the cache", starts=starts, places=places)
            for place in places[::1 if what == FIRST_CAUSE or os.environ.get("ZENO_ALL") else 3]:
                got = interrupted(gdb, place, symbols.address(f"trap_{vector}"), cause)
                ok(got == place, f"{what} at instruction {places.index(place) + 1} of {len(places)} comes there",
                   place=hex(place), got=hex(got))
        gdb.detach()
        done = live.wait()
        text = done.text()
        done.cleanup()
    got = told(text)
    ok("ways: ended: exit code 0" in text, "and the guest comes to its end", text=text[-1500:])
    ok(len(expected) > 80 and got == expected, "as on the bare machine",
       different="\n".join(f"{a}   |   {b}" for a, b in zip(expected, got) if a != b))


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=3", "SOLUTION=1", "build")
    if not ok(built.status == 0, "the reference of Lab 3 builds", out=built.out):
        finish()
    bare = machine.boot(kernel=WAYS, cpu="te", limits=LIMIT)
    expected = told(bare.text())
    bare.cleanup()
    for what in CAUSES:
        at_each(what, expected)
    beside(expected)
    gone_through(expected)
    finish()


main()
