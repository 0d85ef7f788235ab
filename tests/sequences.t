#!/usr/bin/env python3
"""Sequences of what only a kernel runs (guest/sequences), drawn by a seed, on te, bt and svm as on the bare machine.

A line of the guest's is one sequence: what ended it, and a sum of all registers, tables and memory behind it. Ticks fall
between, and change nothing. te's guest would see its ring by some instructions (handouts/lab1b.md#ex-1-9): under te, and
bare for te, `plain=1` leaves those out. By SEED and COUNT; a difference is told with all of both ends.
By hand: `start sequences mem=9 -- seed=S from=N count=1 more=1`, and the same words for the guest on the bare machine.
"""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import ran  # noqa: E402
from harness import ROOT, finish, ok, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
GUEST = BUILD / "guest/sequences.elf"
SEED = int(os.environ.get("SEED") or 1)
COUNT = int(os.environ.get("COUNT") or 400)
KEPT = (("bt", 2, 170), ("bt", 12, 183), ("bt", 24, 350))  # engine, seed, sequence
TOLD = 5  # differences that are told in full
LIMIT = machine.Limits(instructions=None, cpu_seconds=300)
LINE = re.compile(r"^(?:d\d+\| )?([0-9a-f]{8}) ([0-9a-f]{8}) ([0-9a-f]{8} [0-9a-f]{8} [0-9a-f]{8} [0-9a-f]{8})$", re.M)
ENGINES = {"te": ("lab3", "te", "plain=1"), "bt": ("lab3", "te", "plain=0"), "svm": ("lab4s", "svm", "plain=0")}


def boot(kernel, cpu, cmdline, modules=()):
    """The console."""
    return ran("qemu", kernel, cmdline, modules, cpu=cpu, icount=True, idle=False, limits=LIMIT).text


def engine_boot(name, words):
    lab, cpu, plain = ENGINES[name]
    return boot(BUILD / f"{lab}-solution/zeno.mb", cpu,
                f"panic=off -- start sequences engine={name} mem=9 -- {plain} {words}; off", [GUEST])


def bare_boot(name, words):
    return boot(GUEST, ENGINES[name][1], f"{ENGINES[name][2]} {words}")


def told(text):
    """{sequence: how it ended}, and how many have a tick's mark."""
    found = LINE.findall(text)
    return {int(number, 16): end for number, _, end in found}, sum(ticks != "00000000" for _, ticks, _ in found)


def compare(name, count):
    """One engine."""
    words = f"seed={SEED} count={count}"
    bare_text = bare_boot(name, words)
    bare, _ = told(bare_text)
    title = f"{name}, seed {SEED}"
    if not ok(len(bare) == count and "that is all" in bare_text, f"{title}: {count} sequences on the bare machine",
              text=bare_text[-600:]):
        return
    text = engine_boot(name, words)
    got, ticks = told(text)
    ok(len(got) == count and "sequences: ended: exit code 0" in text, f"{title}: all of them on {name}", text=text[-1500:])
    ok(ticks >= count // 20, f"{title}: ticks fall into them", ticks=ticks)
    ok(len({end.split()[0] for end in bare.values()}) > 6, f"{title}: and they end in several ways")
    differ = sorted(n for n in got if got[n] != bare[n])
    whole = {}
    for n in differ[:TOLD]:
        one = f"seed={SEED} from={n} count=1 more=1"
        whole[f"bare_{n}"] = bare_boot(name, one)
        whole[f"{name}_{n}"] = engine_boot(name, one)
    ok(not differ, f"{title}: each leaves what it leaves on the bare machine", differ=differ, **whole)


def kept():
    """What once differed, and is not among the first of SEED."""
    for name, seed, number in KEPT:
        one = f"seed={seed} from={number} count=1 more=1"
        bare, got = bare_boot(name, one), engine_boot(name, one)
        ok(told(bare)[0] and told(bare)[0] == told(got)[0], f"{name}, seed {seed}: sequence {number}", bare=bare, got=got)


def main():
    why = machine.missing("qemu")
    if why:
        print(f"1..0 # SKIP {why}")
        return
    for name, (lab, _, _) in ENGINES.items():
        if (BUILD / f"{lab}-solution/zeno.mb").is_file():
            compare(name, COUNT)
        else:
            skip(f"sequences on {name}", f"{lab} has no reference here")
    kept()
    finish()


if __name__ == "__main__":
    main()
