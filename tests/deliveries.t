#!/usr/bin/env python3
"""An exit in the midst of a delivery: the event comes once, neither lost nor doubled, with its frame and error code.

Each event of the guest is the first to touch the IDT, the TSS and the stack that it needs (grade/zeno/guests/deliveries.py), so
under mmu=nested each costs three violations before its handler has run an instruction. A fault or an `int n` that were lost would
come again with their instruction; an interrupt would not.
"""

import os
import random
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import Engine, boot  # noqa: E402
from harness import ROOT, finish, folder, ok, run, skip  # noqa: E402
from zeno.guests import deliveries  # noqa: E402

ENGINES = {"svm": Engine("5", "svm"), "vmx": Engine("5", "vmx")}
RUNS = (("svm", "qemu", 100, ""), ("svm", "qemu", 30, "poison=1"), ("vmx", "bochs", 45, "poison=1"))


def guest(rng, count):
    """Each kind, and more of any; half of them are interrupts, which nobody raises again when they are lost."""
    kinds = [*deliveries.KINDS, *["interrupt"] * (count // 2)]
    kinds += [rng.choice(list(deliveries.KINDS)) for _ in range(count - len(kinds))]
    rng.shuffle(kinds)
    return deliveries.Deliveries(rng, kinds).assemble(folder(), "deliveries")


def main():
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"# SEED={seed}")
    rng = random.Random(seed)
    built = run("make", "-s", "-C", ROOT, "LAB=5", "SOLUTION=1", "build")
    if not ok(built.status == 0, "the reference of Lab 5 builds", out=built.out):
        finish()
    for engine, where, count, options in RUNS:
        if not shutil.which({"qemu": "qemu-system-x86_64"}.get(where, where)):
            skip(f"{engine} on {where}", f"{where} is not installed: make demo installs it")
            continue
        elf = guest(rng, count)
        wanted = [f"events{count:08X}", f"came={count:08X}", "doubled=00000000", "wrong=00000000"]
        if where == "qemu":
            bare = boot(where, "svm", elf).split()
            ok(bare == wanted, f"bare {where}: {count} events", bare=bare)
        text = ENGINES[engine].host(["start deliveries platform=pc-apic", "violations"], [elf], where, options)
        got = re.findall(r"^d1\| (.*)$", text, re.M)
        ok(got == wanted, f"{engine} on {where} {options}: 0 of {count} lost, none twice".replace(" :", ":"), text=text)
        met = re.search(r"(\d+) violations$", text, re.M)
        ok(met and int(met[1]) >= 3 * count, "... and each has met the IDT, the TSS and the stack as new pages", text=text)
    finish()


if __name__ == "__main__":
    main()
