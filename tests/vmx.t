#!/usr/bin/env python3
"""The engine vmx: guests of Labs 1 to 3, unmodified, and one in long mode, on VT-x as on the bare machine.

On Bochs, whose Haswell has VT-x, with flat EPT tables. The hostile guests must be contained, and those that never end must
leave the others their turns. `poison=1` finds a handler that uses a part of the state that it did not ask for.
`tests/vmx.t all`, as check-all (ZENO_ALL=1), runs every attack and every guest.
"""

import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import ENDING, PER_BOOT, SPINS, Engine  # noqa: E402
from harness import finish, ok  # noqa: E402

VMX = Engine("4", "vmx")
GUESTS = ("hello", "tables", "audit", "paging", "os", "long")
MORE_GUESTS = ("sieve", "traps", "pager", "crowded")


def taking_turns():
    """Two guests at once: each has its VMCS, of which the CPU has one at a time."""
    text = VMX.host(["start os & -- lines=1", "start tables", "start long", "stop d1"], ["os", "tables", "long"],
                    "bochs")
    ok(all(f"{name}: ended: exit code 0" in text for name in ("tables", "long")) and "refuses" not in text,
       "two guests take turns", text=text)


def absent():
    """A CPU without VT-x: said in a line."""
    text = VMX.host(["engines", "start hello"], ["hello"], "bochs", cpu="te")
    ok(re.search(r"vmx +VT-x.*; not here: this CPU ", text) and "engine vmx: this CPU has no VT-x" in text,
       "a CPU without VT-x is told in words", text=text)


def main():
    if not VMX.kernel.is_file():
        print("1..0 # SKIP Lab 4 has no reference here")
        return
    if not shutil.which("bochs"):
        print("1..0 # SKIP Bochs is not installed: make demo installs it")
        return
    everything = "all" in sys.argv[1:] or bool(os.environ.get("ZENO_ALL"))
    names = GUESTS + (MORE_GUESTS if everything else ())
    for options in ("", "poison=1"):
        VMX.same("bochs", names, options)
    VMX.contains("bochs", ENDING if everything else ENDING[:PER_BOOT])
    VMX.spins("bochs", SPINS if everything else SPINS[1:2])
    VMX.forever("bochs")
    VMX.runs_away("bochs")
    VMX.small_guests("bochs")
    VMX.bits("bochs")
    VMX.operands("bochs")
    VMX.watches("bochs")
    taking_turns()
    absent()
    finish()


main()
