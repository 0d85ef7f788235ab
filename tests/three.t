#!/usr/bin/env python3
"""Three guests at once on three engines, of which one is hostile: the timer takes the CPU from each, and the other two print
what they print alone.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import Engine, assembled  # noqa: E402
from harness import ROOT, finish, ok, run  # noqa: E402

ENGINES = ("te", "bt", "svm")
PEACEFUL = ("hello", "sieve")
HOSTILE = ("spin", "fault-forever", "irq-storm")


def said(text, number):
    return re.findall(rf"^d{number}\| (.*)$", text, re.M)


def together(host, alone, engines, attack, deaf):
    """The hostile one is first, and turns of all three are told while it still holds what CPU it gets."""
    first = f"start deaf engine={engines[0]} &" if attack == "deaf" else f"start hostile engine={engines[0]} & -- attack={attack}"
    text = host.host([first, f"start {PEACEFUL[0]} engine={engines[1]} &", f"start {PEACEFUL[1]} engine={engines[2]}",
                      "sleep 1000", "list", "stop d1"], ["hostile", *PEACEFUL, deaf])
    name = f"{attack} on {engines[0]}, {PEACEFUL[0]} on {engines[1]}, {PEACEFUL[1]} on {engines[2]}"
    ok(all(said(text, n) == alone[guest] and f"d{n} {guest}: ended: exit code 0" in text for n, guest in zip((2, 3), PEACEFUL)),
       f"{name}: the others' output is unharmed", alone=alone, text=text[-3000:])
    if attack == "deaf":
        ok(re.search(r"^d1 +deaf .* running$", text, re.M) and "deaf: stopped: by the monitor's stop" in text,
           f"{name}: and it ran all the time", text=text[-3000:])


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=all", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of all labs builds", out=built.out)
    host, deaf = Engine("all", "svm"), assembled("typed/deaf.asm")
    text = host.host([f"start {guest} engine={engine}" for guest in PEACEFUL for engine in ENGINES], PEACEFUL)
    lines = [re.findall(r"^d\d+\| (.*)$", part, re.M) for part in re.split(r"^K> ", text, flags=re.M) if part.startswith("start ")]
    ok(len(lines) == 6 and all(lines) and lines[0] == lines[1] == lines[2] and lines[3] == lines[4] == lines[5],
       "alone they print the same on each engine", text=text[-3000:])
    alone = dict(zip(PEACEFUL, (lines[0], lines[3])))
    for n in range(3):
        turned = ENGINES[n:] + ENGINES[:n]
        together(host, alone, turned, "deaf", deaf)
        together(host, alone, turned, HOSTILE[n], deaf)
    host.forever("qemu", "hHcisj", ("engine=te", "engine=bt"))
    finish()


if __name__ == "__main__":
    main()
