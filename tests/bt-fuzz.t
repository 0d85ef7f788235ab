#!/usr/bin/env python3
"""The translator against the bare machine: generated programs (grade/zeno/guests), bare and on bt, QEMU and Bochs.

A line of tests/fuzz/bt-seeds.txt is `kind seed`: one for each kind of program, and every one that once found something.
`tests/bt-fuzz.t KIND FIRST LAST` tries seeds of your own. The two bare machines are compared, too: a difference between
them would be the program's fault.
"""

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, disk_image, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.guests import loops, mixtures  # noqa: E402
from zeno.judging import evidence  # noqa: E402
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
HOST = BUILD / "lab3-solution"
SEEDS = ROOT / "tests/fuzz/bt-seeds.txt"
LIMIT = machine.Limits(instructions=1_500_000_000, console_bytes=1 << 20)
TIMED = ("interrupted",)
"""Programs whose clock must count instructions: QEMU only."""


def program(kind, seed, patient=False):
    """A fresh program; a patient one waits for the UART, as bare Bochs wants it."""
    made = getattr(mixtures if hasattr(mixtures, kind) else loops, kind)(random.Random(seed))
    made = made[0] if isinstance(made, tuple) else made
    made.patient = patient
    return made.assemble(folder(), "guest")


def disk_for(kernel, cmdline, modules=()):
    """A disk image for Bochs."""
    return disk_image(kernel, cmdline, [(m, "guest") for m in modules])


def bare(elf, where, icount):
    """What the program prints on a bare machine, and how that ended."""
    if where == "qemu":
        done = machine.boot(kernel=str(elf), cpu="te", limits=LIMIT, icount=icount)
    else:
        done = machine.boot(machine="bochs", disk=disk_for(elf, ""), cpu="te", limits=LIMIT)
    done.cleanup()
    return done.console.replace(b"\r", b""), done.end


def on_bt(elf, where, icount):
    """The same under Zeno."""
    words = "trace=1 panic=off -- start guest engine=bt; off"
    if where == "qemu":
        done = machine.boot(kernel=str(HOST / "zeno.mb"), cmdline=words, modules=[(str(elf), "")], cpu="te",
                            limits=LIMIT, icount=icount)
    else:
        done = machine.boot(machine="bochs", disk=disk_for(HOST / "zeno.mb", words, [elf]), cpu="te", limits=LIMIT)
    lives = evidence.lives(done)
    done.cleanup()
    return (lives[0].output if lives else b""), (lives[0].said() if lives else done.detail)


def one(kind, seed):
    """[(what was compared, None or what is wrong)] for one program."""
    icount = kind in TIMED
    elf = program(kind, seed)
    expected, end = bare(elf, "qemu", icount)
    found = [("comes to its end bare", None if end is machine.End.SHUTDOWN else end.value)]
    for where in MACHINES if not icount else ["qemu"]:
        got, said = on_bt(elf, where, icount)
        wrong = None if got == expected else f"{evidence.around_difference(expected, got)}; {said}"
        found.append((f"on bt, {where}: as bare", wrong))
    if "bochs" in MACHINES and not icount and seed % 4 == 0:
        patient = program(kind, seed, patient=True)
        here, there = (bare(patient, where, False)[0] for where in ("qemu", "bochs"))
        found.append(("the same on both bare machines",
                      None if here == there else evidence.around_difference(here, there)))
    return found


MACHINES = ["qemu"]


def main():
    """The kept seeds, or those that were asked for."""
    if machine.missing("bochs"):
        skip("programs on Bochs", machine.missing("bochs"))
    else:
        MACHINES.append("bochs")
    built = run("make", "-s", "-C", ROOT, "LAB=3", "SOLUTION=1", "build")
    if not ok(built.status == 0, "the reference of Lab 3 builds", out=built.out):
        finish()
    if sys.argv[1:]:
        kind, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        wanted = [(kind, seed) for seed in range(first, last + 1)]
    else:
        lines = [line.split("#")[0].split() for line in SEEDS.read_text().splitlines()]
        wanted = [(line[0], int(line[1])) for line in lines if line]
    with ThreadPoolExecutor(2) as pool:
        for (kind, seed), found in zip(wanted, pool.map(lambda pair: one(*pair), wanted)):
            for what, wrong in found:
                ok(not wrong, f"{kind} {seed}: {what}", wrong=wrong)
    finish()


if __name__ == "__main__":
    main()
