#!/usr/bin/env python3
"""Lab 2's generated guests on the bare emulators: one seed makes one program, and QEMU and Bochs agree.

What both CPUs print can be taken for what the manual says; what only one of them does is no yardstick. Flags are left
out of the frames, for the emulators differ in undefined ones.
"""

import os
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import boot_from  # noqa: E402
from harness import ROOT, finish, folder, ok, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.guests import paging, spaces  # noqa: E402
from zeno.machines import machine  # noqa: E402

LIMITS = machine.Limits(instructions=400_000_000)
SEED = os.environ.get("SEED") or str(random.SystemRandom().randrange(1 << 31))
FRAME = re.compile(rb"^([0-9A-F]{8} [0-9A-F]{8} [0-9A-F]{8} [0-9A-F]{8}) [0-9A-F]{8} ", re.M)


def program(name, form):
    """The program of this seed; it polls COM1, as Bochs wants it."""
    return spaces.PROGRAMS[name](random.Random(f"{SEED}/{name}/{form}"), form, polled=True)


def printed(where, guest):
    """What the bare machine prints, flags left out, and how it ended."""
    result = machine.boot(**boot_from(where, guest), cpu="te", limits=LIMITS)
    output, end = FRAME.sub(rb"\1 FLAGS ", result.console), result.end
    result.cleanup()
    return output, end


def main():
    print(f"# SEED={SEED}")
    here = folder()
    for name in spaces.PROGRAMS:
        form = random.Random(f"{SEED}/{name}").choice(paging.FORMATS)
        source = program(name, form).source()
        ok(source == program(name, form).source(), f"{name}, {form}: one seed makes one program")
        guest = program(name, form).assemble(here, name)
        output, end = printed("qemu", guest)
        ok(end is machine.End.SHUTDOWN and output.count(b"\n") > 0,
           f"{name}, {form}: it comes to its end on QEMU", end=end.value)
        if machine.missing("bochs") is not None:
            skip(f"{name}, {form}: Bochs prints the same", "Bochs is not here")
            continue
        other, end = printed("bochs", guest)
        ok(output == other, f"{name}, {form}: Bochs prints the same", end=end.value,
           qemu=output.decode("latin-1")[-400:], bochs=other.decode("latin-1")[-400:])
    finish()


main()
