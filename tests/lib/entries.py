"""What guests of vmx execute between their entries and exits: Bochs' debugger stops at each, and tells the time in instructions."""

import re
import sys

from booting import disk_of
from harness import ROOT, ok, run

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

HOST = ROOT / "build/lab4-solution"


def entries_of(host):
    """(addresses of VMLAUNCH, of VMRESUME, of the exit) in vmx_enter()."""
    symbols = {name: int(at, 16) for at, _, name in (line.split() for line in run("nm", host / "zeno.elf").out.splitlines())}
    first, last = symbols["vmx_enter"], symbols["vmx_exited"]
    code = run("objdump", "-d", "--no-show-raw-insn", f"--start-address={first:#x}", f"--stop-address={last:#x}", host / "zeno.elf").out
    launch, resume = (int(re.search(rf"^ *([0-9a-f]+):\s+{name}", code, re.M)[1], 16) for name in ("vmlaunch", "vmresume"))
    return launch, resume, last


def between_entries(starts, images, limit):
    """Instructions of each guest that these commands start: each begins with the one VMLAUNCH that it has."""
    launch, resume, left = entries_of(HOST)
    disk = disk_of(HOST / "zeno.mb", f"panic=off -- {'; '.join(starts)}; off", images)
    with machine.start(machine="bochs", disk=str(disk), cpu="vmx", limits=limit, mem=128, paused=True) as live:
        gdb = live.gdb()
        for at in (launch, resume, left):
            gdb.insert(at)
        stops = gdb.stops()
        result = live.wait()
    text = result.text()
    result.cleanup()
    found = []
    for (tick, at), (after, to) in zip(stops, stops[1:]):
        if at == launch:
            found.append(0)
        if at in (launch, resume) and to == left:
            found[-1] += after - tick - 1
    ok(len(found) == len(starts) == text.count("ended: exit code 0"), "each guest is launched once, and ends", text=text[-2000:])
    return found
