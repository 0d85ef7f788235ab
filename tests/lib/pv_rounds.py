"""Domains of pv that come and go by the hundred in one boot, and what nobody may lose by it: of grants.t and reservation.t."""

import os
import re
import shutil
import sys

from engine import Engine, guest
from harness import ROOT, folder, ok

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

PV = Engine("8", "pv")
SYMBOLS = Symbols([PV.kernel.with_name("zeno.elf")])
POINTS = ("preempt_point", "sched_idle", "pv_enter", "pv_syscall.answered", "pv_spot_end.entered")
MOST = 2_000_000  # instructions with interrupts off
ROUNDS = int(os.environ.get("ROUNDS", 500))
LIMIT = machine.Limits(instructions=None, cpu_seconds=60 + ROUNDS / 20)


def host(name, commands, options=""):
    """(console, counts) of a host that does these, with a guest that is its own dom0, too."""
    dom0 = folder() / "dom0.elf"
    shutil.copyfile(guest(name), dom0)
    result = machine.boot(machine="qemu", kernel=str(PV.kernel), cpu="pv", mem=128, limits=LIMIT,
                          cmdline=f"panic=off {options} -- {'; '.join(commands)}; off",
                          modules=[(str(elf), "") for elf in (dom0, guest(name), guest("pv-hello"))],
                          points=[SYMBOLS.address(point) for point in POINTS])
    text, counts = result.text(), result.counts
    result.cleanup()
    return text, counts


def nothing_lost(text, counts):
    """Behind `frames` at both ends, and three audits; and nobody waited long for the host."""
    free = re.findall(r"^ *free +(\d+) frames", text, re.M)
    ok(len(free) == 2 and free[0] == free[1], "and none is lost", free=free)
    ok(text.count("audit: 0 differences") == 3, "the auditors count the same", text=text[-3000:])
    first, last = (SYMBOLS.describe(address) for address in counts.longest_at)
    ok(0 < counts.longest <= MOST, f"at most {MOST:,} instructions with interrupts off", longest=f"{counts.longest:,}, from {first} to {last}")
    print(f"# {counts.longest:,}, from {first} to {last}")
