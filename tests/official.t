#!/usr/bin/env python3
"""From finished work to points: `make submit`, then `grade/official` on the archive, for Labs 2 and 3."""

import json
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, folder, ok, run  # noqa: E402

SMALL = {"2": ("2-shadow", "fault-hidden", 10), "3": ("3-translate", "straight", 6)}
"""For each lab a test that is decided soon, and its points."""


def handed_in(number, lab, place):
    """The archive of a tree whose labs/ hold the solution."""
    tree = place / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", "build", "*.tar"))
    for path in (tree / "solutions" / lab).iterdir():
        shutil.copy(path, tree / "labs" / lab / path.name)
    done = run("make", "submit", f"LAB={number}", cwd=tree)
    ok(done.status == 0, f"lab {number}: make submit", out=done.out)
    return tree / f"zeno-lab{number}.tar"


for one, (where, test, points) in SMALL.items():
    here = folder()
    here.chmod(0o755)
    graded = run(ROOT / "grade/official", handed_in(one, where, here), "--lab", one, "--out", here / "out",
                 "--only", test)
    results = here / "out" / "results.json"
    found = {}
    if results.is_file():
        found = {t["test"]: t["earned"] for t in json.loads(results.read_text())["tests"]}
    ok(graded.status == 0 and found.get(test) == points, f"lab {one}: official gives `{test}` its points",
       out=graded.out[-1500:], got=found)


def half():
    """Half a lab, with a file that does not compile: the exercise of the other file keeps its points."""
    place = folder()
    place.chmod(0o755)
    tree = place / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", "build", "*.tar"))
    shutil.copy(tree / "solutions/0-boot/walk.c", tree / "labs/0-boot/walk.c")
    gate = tree / "labs/0-boot/gate.c"
    gate.write_text(gate.read_text().replace("(void)saved;", "this is no C"))
    done = run("make", "submit", "LAB=0B", cwd=tree)
    ok(done.status == 0 and "3 files" in done.out, "lab 0B: make submit packs the half's files", out=done.out)
    graded = run(ROOT / "grade/official", tree / "zeno-lab0B.tar", "--lab", "0A", "--out", place / "other")
    ok(graded.status == 2 and "for lab '0B" in graded.out, "it is no submission for the other half", out=graded.out)
    graded = run(ROOT / "grade/official", tree / "zeno-lab0B.tar", "--lab", "0B", "--out", place / "out")
    results = json.loads((place / "out/results.json").read_text())
    earned = {one["id"]: one["earned"] for one in results["exercises"]}
    ok(graded.status == 1 and earned == {"0.5": 0, "0.6": 20} and results["earned"] == 20 and not results["build"]["ok"],
       "official decides 0.6 among the reference's other exercises", got=earned, out=graded.out[-1500:])
    shown = "\n".join(re.findall(r"^ok .*0\.6.*$", graded.out, re.M))
    ok("(20 of 20 points)" in shown and "Your own whole (0 of 6 points)" in graded.out, "and says so", out=graded.out)


half()
finish()
