#!/usr/bin/env python3
"""Shadow paging: guest/paging on te as on the bare machine, random page tables, the auditor, hostile page tables."""

import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import ran  # noqa: E402
from harness import ROOT, finish, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
HOST = BUILD / "lab2-solution"
GUEST = BUILD / "guest/paging.elf"
LIMIT = machine.Limits(instructions=8_000_000_000)
GUEST_MIB = 8  # what Zeno gives it; its random page tables lead beyond that, too
MACHINES = ["qemu"] + (["bochs"] if shutil.which("bochs") else [])


def boot(kernel, cmdline, where, modules=(), mem=128):
    """The console's text."""
    return ran(where, kernel, cmdline, modules, cpu="te", mem=mem, limits=LIMIT).text


def host(commands, where="qemu", options="panic=off"):
    """The host's console after these monitor commands."""
    return boot(HOST / "zeno.mb", f"{options} -- {'; '.join(commands)}; off", where, [GUEST])


def lines(text, number=1):
    """What a guest said."""
    return [line[4:] for line in text.splitlines() if line.startswith(f"d{number}| ")]


def same(words, where, options="panic=off"):
    """One run of the guest, bare and under Zeno."""
    bare = boot(GUEST, words, where, mem=GUEST_MIB).splitlines()
    text = host([f"start paging -- {words}", "audit"], where, options)
    ok(bare and lines(text) == bare, f"paging {words} on {where} ({options}): as on the bare machine",
       expected="\n".join(bare), got=text)
    ok("audit: 0 differences" in text, "and its shadows are right in the end", text=text[-800:])


def equivalence():
    """The same image bare and under te, on both machines, also on a paranoid host."""
    for words in ("", "pae=1", "nx=1", "pae=1 nx=1"):
        for where in MACHINES:
            same(words, where)
        same(words, "qemu", "panic=off paranoid=1")
    for where in MACHINES:  # the VMM window has to move
        same("hostile=window", where)
    if "bochs" not in MACHINES:
        skip("paging on Bochs", "Bochs is not installed: make demo installs it")


def fuzz():
    """Random operations from a seed, with an audit now and then."""
    for seed in (1, 2):
        for words in ("", "pae=1 ", "pae=1 nx=1 "):
            same(f"{words}fuzz=15000 seed={seed}", "qemu", "panic=off audit=200")
    if "bochs" in MACHINES:
        same("fuzz=6000 seed=3", "bochs")


def damage():
    """The auditor sees every kind of damage."""
    seen = {}
    text = host(["start paging", "damage 1", "damage 2", "start paging -- pae=1", "damage 3",
                 "damage 4", "start paging -- fuzz=500 seed=5", "damage 5", "audit"])
    for what, result in re.findall(r"^damage: (.*): (seen|not seen|there is none)$", text, re.M):
        seen.setdefault(what, []).append(result)
    ok(len(seen) == 11, "eleven kinds of damage", seen=seen)
    for what, results in seen.items():
        ok("seen" in results and "not seen" not in results, f"the auditor notices: {what}",
           results=results)
    ok("audit: 0 differences" in text, "what was damaged is put right", text=text[-500:])


ATTACKS = {
    "nowhere": r"stopped: it jumped to [0-9a-f]+, where it has no memory",
    "itself": r"stopped: triple fault: ",
    "beyond": r"ended: exit code 0",
    "crowd": r"ended: exit code 0",
    "window": r"ended: exit code 0",
}


def hostile():
    """Each attack ends as it should, and a guest runs after it; no frame is lost."""
    for name, want in ATTACKS.items():
        text = host(["start paging", "frames", f"start paging -- hostile={name}", "shadow",
                     "start paging", "frames"])
        end = re.search(r"^d\d paging: ((?:stopped|ended): .*)$",
                        text.split(f"hostile={name}", 1)[1], re.M)
        ok(end and re.match(want, end[1]), f"hostile page tables: {name}", text=text[-3000:])
        counts = re.findall(r"^  free +(\d+) frames", text, re.M)
        ok(len(counts) == 2 and counts[0] == counts[1] and "panic" not in text.replace("panic=", ""),
           "the next guest runs, and no frame is lost", counts=counts, text=text[-800:])
    text = host(["start paging -- hostile=crowd", "shadow"])
    ok(lines(text)[-2:-1] == ["crowd: wrong 00000000"], "three hundred address spaces, all right",
       text=text)
    ok(re.search(r"freed, [1-9]\d* times all", text), "... and they were too many for the shadows",
       text=text)


def refused():
    """A load of CR0 that failed has not happened: what looks at the guest finds it without paging."""
    built = run("make", "-s", "-C", ROOT, "LAB=2", "build")
    text = boot(BUILD / "lab2/zeno.mb", "panic=off -- start paging; gwalk 0x100000; off", "qemu", [GUEST])
    ok("exercise 2.1 is not done" in text and "d1: paging is off: 00100000 is guest-physical" in text,
       "gwalk after a load of CR0 that failed", text=text, out=built.out)


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=2", "SOLUTION=1", "build")
    if not ok(built.status == 0, "the reference of Lab 2 builds", out=built.out):
        finish()
    equivalence()
    fuzz()
    damage()
    hostile()
    refused()
    finish()


if __name__ == "__main__":
    main()
