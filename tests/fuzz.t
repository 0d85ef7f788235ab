#!/usr/bin/env python3
"""Guests that run random code in ring 0 and ring 3 (guest/fuzz) on te and bt: the host goes on, and loses nothing.

One seed is one guest of at most 64 rounds; the clock counts instructions, so a seed does the same each time. ROUNDS=N
runs as many on each engine (make soak: a million in all), SEED=N begins elsewhere. What once went wrong is kept in
tests/fuzz/guest-seeds.txt and runs first. By hand: `start fuzz engine=bt mem=6 -- seed=17`.
"""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

BUILD = ROOT / "build"
HOST = BUILD / "lab3-solution"
SYMBOLS = Symbols([HOST / "zeno.elf"])
# Where the host's interrupts come in: also at the end of ring_enter(), before a guest's instruction that can't be fetched.
POINTS = [SYMBOLS.address(name) for name in ("preempt_point", "sched_idle", "ring_enter")]
MOST = 2_000_000  # instructions with interrupts off
ROUNDS = int(os.environ.get("ROUNDS") or 10_000)
SEED = int(os.environ.get("SEED") or 1)
AUDIT = 61  # every 61st load of CR3 the shadows are compared with the guest's tables
PER_BOOT = 50_000
LIMIT = machine.Limits(instructions=None, cpu_seconds=3600, wall_seconds=10_000)


def boot(commands):
    """The console, the last seed that was told, and the run, of a host that does these."""
    run = machine.boot(machine="qemu", kernel=str(HOST / "zeno.mb"), cpu="te", limits=LIMIT, icount=True, idle=False,
                       cmdline=f"panic=off audit={AUDIT} -- {'; '.join(commands)}; start hello; off",
                       modules=[(str(BUILD / "guest" / f"{name}.elf"), "") for name in ("fuzz", "hello")],
                       points=POINTS)
    text = run.console.decode("ascii", "replace").replace("\r", "")
    told = [args for kind, args in run.tagged("fuzz")]
    run.cleanup()
    return text, told[-1] if told else "none", run


def alive(run, text, seed, what):
    """The host came to its end in order, and ran a guest as ever before that."""
    good = run.end is machine.End.SHUTDOWN and "hello: ended: exit code 0" in text
    ok(good, f"{what}: the host goes on", last=f"it stopped in {seed}; replay: start fuzz engine="
       + seed.replace(" ", " mem=6 -- "), end=run.end.value, detail=run.detail, text=text[-2500:])
    first, last = (SYMBOLS.describe(address) for address in run.counts.longest_at)
    ok(run.counts.longest <= MOST, f"{what}: at most {MOST:,} instructions with interrupts off",
       longest=f"{run.counts.longest:,}, from {first} to {last}")
    print(f"# {what}: longest {run.counts.longest:,} instructions, from {first} to {last}")
    return good


def rounds(engine, count, seed):
    """So many rounds from this seed on; the next seed, or None."""
    text, last, run = boot([f"fuzz fuzz {count} engine={engine} seed={seed}"])
    if not alive(run, text, last, f"{engine}, from seed {seed}"):
        return None
    found = re.search(r"^fuzz: (\d+) rounds .* up to seed (\d+): (\d+) stopped, (\d+) put out; frames free (\d+) "
                      r"before, (\d+) after$", text, re.M)
    ok(found and int(found[1]) >= count, f"{engine}: {count:,} rounds", text=text)
    ok(found and found[5] == found[6], f"{engine}: all frames come back", text=text)
    print(f"# {found[0] if found else text}")
    return int(found[2]) + 1 if found else None


def kept():
    """Seeds that once broke something: lines of an engine and a seed."""
    lines = (ROOT / "tests/fuzz/guest-seeds.txt").read_text().splitlines()
    seeds = [line.split("#")[0].split() for line in lines if line.split("#")[0].strip()]
    if seeds:
        text, last, run = boot([f"fuzz fuzz 1 engine={engine} seed={seed}" for engine, seed in seeds])
        alive(run, text, last, f"{len(seeds)} kept seeds")


def main():
    why = machine.missing("qemu")
    if why:
        print(f"1..0 # SKIP {why}")
        return
    kept()
    for engine in ("te", "bt"):
        seed, left = SEED, ROUNDS
        while seed and left > 0:
            seed = rounds(engine, min(left, PER_BOOT), seed)
            left -= PER_BOOT
    finish()


main()
