#!/usr/bin/env python3
"""Guests start and end by the thousand in one boot, in every way that a guest can end: no frame is lost.

Of ten thousand `make check` starts half, and each attack three times instead of six.
"""

import os
import re
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import ran  # noqa: E402
from harness import ROOT, finish, ok  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
HOST = BUILD / "lab1-solution" / "zeno.mb"
LIMIT = machine.Limits(instructions=None, cpu_seconds=300)
ATTACKS = re.findall(r'ATTACK\s+"([^"]+)"', (ROOT / "guest/hostile/attacks.asm").read_text())
GAPS = {name for name, want in tomllib.loads((ROOT / "tests/te/attacks.toml").read_text()).items()
        if want.get("qemu_gap")}
IN_ORDER = ("exit", "tables")
BY_ITS_DEED = ("ud", "window", "halt")
GUESTS, TIMES = (10_000, 6) if os.environ.get("ZENO_ALL") else (5_000, 3)
PATIENCE = 1_000  # turns: one ends with each tick of real time, and the machine running this may stall for some
PER_COMMAND = 6  # a command of the monitor's has sixteen words at most


def boot(commands):
    """The console of a host that runs these commands."""
    got = ran("qemu", HOST, f"panic=off -- {'; '.join(commands)}; off",
              [BUILD / "guest" / f"{name}.elf" for name in ("brief", "hostile", "hello")], cpu="te", limits=LIMIT)
    ok(got.end is machine.End.SHUTDOWN, f"the host ends in order after {commands[0]!r}",
       end=got.end, detail=got.detail, text=got.text[-2000:])
    return got.text


def parts(text):
    """What each command printed: [(command, text)]."""
    found = re.split(r"^K> (.*)\n", text, flags=re.M)
    return list(zip(found[1::2], found[2::2]))


def counts(text):
    """(guests, ended, stopped, stopped by soak, free frames) of every line of progress."""
    return [tuple(map(int, found)) for found in re.findall(
        r"^soak: +(\d+) guests: (\d+) ended, (\d+) stopped, (\d+) stopped by soak; (\d+) frames "
        r"free$", text, re.M)]


def none_lost(text):
    """True if the one soak in this text says that all frames came back, and its numbers do too."""
    found = re.findall(r"^soak: (\d+) frames free before, (\d+) after: none lost$", text, re.M)
    first = re.search(r"; (\d+) frames free$", text, re.M)
    return len(found) == 1 and len({*found[0], first[1]}) == 1


def thousands():
    """The soak itself, then guests that somebody else must stop, then one that must run as ever."""
    ends = " | ".join(f"end={end}" for end in IN_ORDER + BY_ITS_DEED)
    soak = f"soak brief {GUESTS} turns={PATIENCE} -- {ends}"
    text = boot(["start hello", "frames", soak, "start hello",
                 "frames", "soak brief 24 -- end=spin | end=sleep", "start hello",
                 "soak hello 3 mem=8", "start hello", "frames"])
    shown = dict(parts(text))
    main = shown[soak]
    each = GUESTS // len(IN_ORDER + BY_ITS_DEED)
    lines = counts(main)
    ok([line[0] for line in lines] == list(range(1000, GUESTS + 1, 1000)),
       "progress is told every thousand guests", text=main)
    ok(lines and lines[-1][1:4] == (each * len(IN_ORDER), each * len(BY_ITS_DEED), 0),
       f"{GUESTS} guests: each ended in its own way", text=main)
    ok(len({line[4] for line in lines}) == 1, "as many frames are free every thousand", text=main)
    ok(none_lost(main), "and after the last as before the first", text=main)
    ok(len(main.strip().split("\n")) == 2 + GUESTS // 1000, "and nothing else is printed", text=main)
    free = re.findall(r"^  free +(\d+) frames", text, re.M)
    ok(len(free) == 3 and len(set(free)) == 1, "`frames` says the same", free=free)
    held = shown["soak brief 24 -- end=spin | end=sleep"]
    last = counts(held)[-1:]
    ok(last and last[0][1] == 0 and last[0][3] >= 12 and none_lost(held),
       "guests that run on are stopped from outside, and no frame is lost", text=held)
    ok("hello: ended: exit code 0" in text, "a guest after them runs as ever", text=text)
    ok(none_lost(shown["soak hello 3 mem=8"]), "the guest before is no part of the sum", text=text)


def hostile():
    """Every attack, some times each, two boots."""
    names = [name for name in ATTACKS if name not in GAPS]
    groups = [names[i:i + PER_COMMAND] for i in range(0, len(names), PER_COMMAND)]
    commands = [f"soak hostile {TIMES * len(group)} -- " + " | ".join(f"attack={n}" for n in group)
                for group in groups]
    half = len(commands) // 2
    for some in (commands[:half], commands[half:]):
        shown = parts(boot(some))
        for command, text in shown[:-1]:
            names = ", ".join(re.findall(r"attack=(\S+)", command))
            ok(none_lost(text), f"no frame is lost by {names}", text=text)
        ok(len(shown) == len(some) + 1, "every one of them ran", text=shown)


def misuse():
    """What can't be is said, and nothing is started."""
    text = boot(["soak", "soak brief", "soak brief 0", "soak brief ten", "soak nobody 5",
                 "soak brief 5 mem=1", "soak brief 5 turns=0",
                 "soak brief 5 turns=x", "soak brief 5 engine=none", "soak brief 5 -- "
                 + "| " * 12, "list"])
    shown = parts(text)
    for command, said in shown[:-2]:
        if command.strip().endswith("|"):
            ok("none lost" in said or "too big" in said or "more than" in said,
               "command lines without words", text=said)
        else:
            ok(("error" in said or "no guest nobody" in said) and "frames free" not in said,
               f"refused: {command}", text=said)


def main():
    why = machine.missing("qemu")
    if why:
        print(f"1..0 # SKIP {why}")
        return
    thousands()
    hostile()
    misuse()
    finish()


if __name__ == "__main__":
    main()
