#!/usr/bin/env python3
"""A guest that resets its machine: with on-reset=restart it starts again, as it did first, so often and no more; else it ends.

By each port that resets, and by a triple fault; with a second CPU, under a person who waits for it, and beside another guest.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import Engine, assembled, guest  # noqa: E402
from harness import ROOT, finish, ok, run  # noqa: E402

TIMES = int(re.search(r"define RESETS_MAX +(\d+)", (ROOT / "vmm/words/monitor.c").read_text())[1])
WAYS = {"k": "it reset the machine, by port 64", "f": "it reset the machine, by port 92", "c": "it asks for a reset, by port cf9",
        "t": "triple fault"}
RUNS = (("3", "te", "", "kft"), ("5", "svm", "platform=pc-apic vcpus=2", "kfct"))


def again(lab, name, words, ways):
    """Each way, and what the host has in the end is what it had before."""
    host = Engine(lab, name)
    elf = [assembled("reset/again.asm"), guest("hello")]
    typed = [f"start again {words} on-reset=restart -- {way}" for way in ways]
    text = host.host([typed[0], "sleep 50", "frames", *typed, f"start again {words} -- k", "sleep 50", "frames"], elf)
    parts = [part for part in re.split(r"^K> ", text, flags=re.M) if part.startswith("start ")][1:]
    for way, part in zip(ways, parts):
        said = re.findall(r"^d[12]\| (\w+)$", part, re.M)
        ends = re.findall(r"^d[12] again: (starts again|stopped): (.*)$", part, re.M)
        ok(said == ["fresh"] * (TIMES + 1), f"{name}: {WAYS[way]}: each time nothing is left of the time before", said=said, part=part)
        ok([how for how, _ in ends] == ["starts again"] * TIMES + ["stopped"] and all(why.startswith(WAYS[way]) for _, why in ends),
           f"... {TIMES} times, and then it ends", ends=ends, part=part)
    ok("starts again" not in parts[len(ways)] and " again: stopped: it reset" in parts[len(ways)], f"{name}: without the word it ends at once",
       part=parts[len(ways)])
    before, after = (re.sub(r"of d[12]", "of it", text) for text in re.findall(r"^K> frames\n(.*?)(?=^K> )", text, re.M | re.S))
    ok(before == after, f"{name}: no frame is lost", before=before, after=after)


def beside():
    """It keeps its number, though a lower one is free by then."""
    text = Engine("3", "te").host(["start hello &", "start again on-reset=restart -- k", "start hello"],
                                  [assembled("reset/again.asm"), guest("hello")])
    ok(len(re.findall(r"^d2\| fresh$", text, re.M)) == TIMES + 1 and "d1 again" not in text and "d2 again: stopped" in text,
       "it keeps its number", text=text)


def main():
    for lab in ("3", "5"):
        built = run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build")
        ok(built.status == 0, f"the reference of Lab {lab} builds", out=built.out)
    for setup in RUNS:
        again(*setup)
    beside()
    finish()


if __name__ == "__main__":
    main()
