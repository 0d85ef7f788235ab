#!/usr/bin/env python3
"""What a guest that sleeps costs the host: a wake-up for each of its ticks, and nothing while it waits for none.

Counted from outside: the plugin counts the host's instructions, and how often the CPU goes to sleep.
"""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, folder, ok, run  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.judging import headers  # noqa: E402
from zeno.machines import machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

LIMIT = machine.Limits(instructions=2_000_000_000, cpu_seconds=60, wall_seconds=120)
WATCHED = ("sched_idle", "vcpu_ready")
SLEEPS = 40
LATE = 60_000_000  # nanoseconds, more than a sleep


def guest(name, sleeps, forever, once=False):
    """An image."""
    path = folder() / name
    done = run("nasm", "-w+all", "-w+error", "-f", "elf32", f"-DSLEEPS={sleeps}", f"-DFOREVER={int(forever)}",
               f"-DONCE={int(once)}", "-o", f"{path}.o", ROOT / "tests/sleep/guest.asm")
    linked = run(os.environ.get("CROSS", "") + "ld", "-N", "-m", "elf_i386", "-Ttext", "0x100000", "-o", path, f"{path}.o")
    if done.status or linked.status:
        raise RuntimeError(done.out + linked.out)
    return path


def boot(engine, lab, image, typed=None):
    """(console, what the run was like)."""
    host = ROOT / f"build/lab{lab}-solution"
    live = machine.start(machine="qemu", kernel=str(host / "zeno.mb"), cpu="te", mem=128, limits=LIMIT,
                         watch=[Symbols([host / "zeno.elf"]).address(name) for name in WATCHED], icount=typed is None, interactive=typed is not None, idle=typed is None,
                         cmdline=f"panic=off -- start {image.name} engine={engine} {'; off' if typed is None else '&'}",
                         modules=[(str(image), "")])
    if typed is not None:
        live.wait_for(b"started on")
        for _ in range(20):
            live.pump()
        live.send(typed)
    result = live.wait()
    text = result.console.decode("ascii", "replace").replace("\r", "")
    result.cleanup()
    return text, result


def ticking(engine, lab):
    """Each tick of the guest's wakes the host once."""
    few, many = (boot(engine, lab, guest(f"sleep{n}", n, False)) for n in (SLEEPS, 3 * SLEEPS))
    for (text, _), n in ((few, SLEEPS), (many, 3 * SLEEPS)):
        ok(re.search(rf"ended: exit code {n} ", text) is not None, f"{engine}: a guest sleeps {n} times", text=text)
    idle, asked = (b - a for a, b in zip(few[1].counts.watches.values(), many[1].counts.watches.values(), strict=True))
    ok(2 * SLEEPS <= idle <= 2 * SLEEPS + 2, f"{engine}: the host wakes as often as its guest's clock", sleeps=idle)
    ok(asked <= 4 * SLEEPS + 2, f"{engine}: the guest is asked when it falls asleep and at its deadline", asked=asked)


def silent(engine, lab):
    """A guest that no interrupt can reach: the machine stands still."""
    text, result = boot(engine, lab, guest("forever", 1, True))
    ok(result.end is machine.End.IDLE and "no interrupt comes" in result.detail,
       f"{engine}: no clock runs for a guest that has none", end=result.end, detail=result.detail, text=text)
    halts = result.counts.halts
    ok(halts <= 8, f"{engine}: it went to sleep a few times alone", halts=halts)
    text, result = boot(engine, lab, guest("forever", 1, True), typed=b"list\roff\r")
    ok("running" in text and result.end is machine.End.SHUTDOWN, f"{engine}: what is typed wakes the monitor",
       end=result.end, text=text)


def late(engine, lab):
    """The clock strikes between the look at the lines and the question when it will: the guest wakes all the same."""
    host = ROOT / f"build/lab{lab}-solution"
    image = guest("once", 1, False, once=True)
    offset = headers.offset_of(ROOT, "vmm/domain.h", "struct domain", "clock_offset")
    with machine.start(machine="qemu", kernel=str(host / "zeno.mb"), cpu="te", mem=128, limits=LIMIT, paused=True, icount=True,
                       cmdline=f"panic=off -- start once engine={engine}; off", modules=[(str(image), "")]) as live:
        gdb = live.gdb()
        asked = Symbols([host / "zeno.elf"]).address("platform_deadline")
        gdb.insert(asked)
        gdb.cont()
        at = gdb.regs()["rdi"] + offset
        gdb.remove(asked)
        now = int.from_bytes(gdb.read(at, 8), "little")
        gdb.write(at, ((now - LATE) % 2 ** 64).to_bytes(8, "little"))  # the domain's time goes on by so much
        gdb.detach()
        result = live.wait()
    text = result.text()
    result.cleanup()
    ok("ended: exit code 1 " in text, f"{engine}: an edge that comes while the guest falls asleep wakes it", text=text,
       end=result.end, detail=result.detail)


for words in (("te", 1), ("bt", 3)):
    ticking(*words)
    silent(*words)
    late(*words)
finish()
