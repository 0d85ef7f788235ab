#!/usr/bin/env python3
"""Random programs of ring 3 (guest/fuzz, same=1) on te and bt as on the bare machine: how each ends, its registers, its memory.

By SEED and ROUNDS. What differs is told by its round; all of one round: `start fuzz mem=6 -- same=more seed=S round=N count=1`,
and the same words for the guest on the bare machine. An even seed runs without PAE, an odd one with it.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import ran  # noqa: E402
from harness import ROOT, finish, ok  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
GUEST = str(BUILD / "guest/fuzz.elf")
HOST = str(BUILD / "lab3-solution/zeno.mb")
SEED = int(os.environ.get("SEED") or 5)
ROUNDS = int(os.environ.get("ROUNDS") or 400)
PER_GUEST = 50
TICK = "00000020"
LIMIT = machine.Limits(instructions=None, cpu_seconds=600)


def boot(kernel, cmdline, modules=()):
    """The console's lines."""
    got = ran("qemu", kernel, cmdline, modules, cpu="te", icount=True, idle=False, limits=LIMIT)
    return got.text.split("\n"), got.end


def told(lines):
    """{round: what became of it}."""
    words = [line.split() for line in lines]
    return {w[0]: w[1:] for w in words if len(w) == 3 and len(w[0]) == 8 and len(w[1]) == 8}


def compare(seed):
    """One seed on the bare machine and on both engines."""
    lines, end = boot(GUEST, f"same=1 seed={seed} count={ROUNDS}")
    bare = told(lines)
    if not ok(end is machine.End.SHUTDOWN and len(bare) == ROUNDS, f"seed {seed}: {ROUNDS} rounds on the bare machine",
              end=end, text="\n".join(lines[-5:])):
        return
    for engine in ("te", "bt"):
        starts = [f"start fuzz engine={engine} mem=6 -- same=1 seed={seed} round={n} count={PER_GUEST}"
                  for n in range(0, ROUNDS, PER_GUEST)]
        lines, end = boot(HOST, "panic=off -- " + "; ".join(starts) + "; off", [GUEST])
        got = told(line.split("| ", 1)[1] for line in lines if line.startswith("d") and "| " in line)
        stopped = [line for line in lines if " fuzz: stopped: " in line]
        ok(end is machine.End.SHUTDOWN and len(got) >= ROUNDS and not stopped,
           f"seed {seed}, {engine}: the rounds come to their end, and no guest to one of its own", end=end, stopped=stopped,
           rounds=len(got), text="\n".join(lines[-12:]))
        both = {n for n in got if TICK not in (got[n][0], bare[n][0])}
        ok(len(both) >= len(got) * 9 // 10, f"seed {seed}, {engine}: few are ended by a tick", compared=len(both))
        differ = sorted(n for n in both if got[n] != bare[n])
        ok(not differ, f"seed {seed}, {engine}: each round ends as on the bare machine",
           differ="\n".join(f"round {int(n, 16)}: {' '.join(got[n])}, bare: {' '.join(bare[n])}" for n in differ[:10]))


def main():
    why = machine.missing("qemu")
    if why:
        print(f"1..0 # SKIP {why}")
        return
    compare(SEED)
    compare(SEED + 1)
    finish()


main()
