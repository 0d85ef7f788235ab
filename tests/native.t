#!/usr/bin/env python3
"""Guests on svm and vmx run themselves: their instructions are executed by the CPU, once each.

On svm a plugin of QEMU counts what is executed below the host's half of the address space, and at the first instruction
of each of the guest's functions, and both on the bare machine. No interpreter, translator or second try would come to the same
counts: bt, whose ring-0 code runs from a cache, is asked to show it. On vmx Bochs' debugger stops at each VMLAUNCH, VMRESUME
and exit: what was executed between an entry and its exit the guest did, and it is as much as on the bare machine.
ZENO_ALL=1 has more guests on vmx. tests/grub.t counts GRUB's.
"""

import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from entries import between_entries  # noqa: E402
from harness import ROOT, finish, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import counts, machine  # noqa: E402

LIMIT = machine.Limits(instructions=6_000_000_000, cpu_seconds=120)
# With the words of each. The OS runs what does not wait for its clock, whose ticks come by the host's instructions, too.
GUESTS = {"hello": "", "tables": "", "audit": "", "long": "", "os": "script=bench-compute+bench-fork+bench-files"}
ON_VMX = {"hello": "", "long": ""}
MORE_ON_VMX = {"tables": "", "audit": "", "os": "script=bench-compute+bench-files"}
LEAST, MOST = 0.99, 1.01
# What an interrupt runs, or what waits for one: as often as there are ticks.
TICKING = ("irq", "tick", "timer", "sched", "idle", "wait", "yield", "trap", "halt", "switch", "cli", "sti")


def functions(elf):
    """Addresses of functions of its own by name, as many as the plugin can watch."""
    found = [line.split() for line in run("nm", elf).out.splitlines()]
    names = {name: int(at, 16) for at, kind, name in (one for one in found if len(one) == 3) if kind in "Tt"}
    steady = {name: at for name, at in names.items() if not any(word in name for word in TICKING)}
    return dict(list(sorted(steady.items()))[:counts.MAX_WATCH])


def counted(kernel, cmdline, watch, cpu, **more):
    result = machine.boot(kernel=kernel, cmdline=cmdline, watch=tuple(watch), cpu=cpu, icount=True, exact=True, limits=LIMIT, **more)
    result.cleanup()
    return result.counts


def both(name, words, engine, lab, cpu):
    """(The share of the guest's instructions that ran at its own addresses, functions by name that ran more or less often.)"""
    elf, host = ROOT / f"build/guest/{name}.elf", ROOT / f"build/lab{lab}-solution"
    names = functions(elf)
    watch = set(names.values())
    bare = counted(elf, f"{name} {words}", watch, cpu, mem=32)
    alone = counted(host / "zeno.mb", "panic=off -- off", watch, cpu, mem=128)  # its first code lies where guests lie
    got = counted(host / "zeno.mb", f"panic=off -- start {name} engine={engine} mem=32 -- {words}; off", watch, cpu, mem=128,
                  modules=[(elf, "")])
    times = {one: (bare.watches[at], got.watches[at] - alone.watches[at]) for one, at in names.items()}
    other = {one: pair for one, pair in times.items() if pair[0] != pair[1]}
    return got.low / bare.total, other, sum(bool(pair[0]) for pair in times.values())


def on_vmx():
    guests = ON_VMX | (MORE_ON_VMX if os.environ.get("ZENO_ALL") else {})
    starts = [f"start {name} mem=32 -- {words}" for name, words in guests.items()]
    done = between_entries(starts, [ROOT / f"build/guest/{name}.elf" for name in guests], LIMIT)
    for name, did in zip(guests, done):
        bare = counted(ROOT / f"build/guest/{name}.elf", f"{name} {guests[name]}", (), "te", mem=32).total
        ok(LEAST <= did / bare <= MOST, f"{name} on vmx: {100 * did / bare:.2f} % of its instructions ran themselves", did=did, bare=bare)


def main():
    if not (ROOT / "solutions").is_dir():
        print("1..0 # SKIP there are no reference solutions here")
        return
    if not counts.plugin():
        skip("counting instructions", "the TCG plugin can't be built here")
        finish()
    for lab in ("3", "4s", "4"):
        run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build")
    for name, words in GUESTS.items():
        share, other, ran = both(name, words, "svm", "4s", "svm")
        ok(LEAST <= share <= MOST, f"{name} on svm: {100 * share:.2f} % of its instructions ran themselves", share=share)
        ok(ran and not other, f"{name} on svm: {ran} functions of its own ran as often as on the bare machine", other=other)
    _, other, ran = both("hello", "", "bt", "3", "te")
    ok(len(other) == ran, "on bt, which translates, none of hello's functions runs where it lies", other=other)
    if shutil.which("bochs"):
        on_vmx()
    else:
        skip("the same on vmx", "Bochs is not installed: make demo installs it")
    finish()


main()
