#!/usr/bin/env python3
"""Right code passes with every seed: the references, with seeds that once failed and, in `make check-all`, with a hundred
others for each test.

tests/seeds.txt has a line `lab test seed` for each failure that chance once brought. `tests/seeds.t 1 interrupt-place
COUNT` tries so many seeds on one test.
"""

import random
import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "grade"), str(ROOT / "tests" / "lib")]
sys.dont_write_bytecode = True

from harness import finish, ok, skip  # noqa: E402
from zeno.guests import loops  # noqa: E402
from zeno.judging import attempt, build, course, grader, kept  # noqa: E402
from zeno.machines import machine  # noqa: E402

COUNT = 100
JOBS = 2


def remembered():
    """[(lab, test, [seed])] of tests/seeds.txt."""
    lines = [line.split("#")[0].split() for line in (ROOT / "tests" / "seeds.txt").read_text().splitlines()]
    return [(lab, test, [int(seed)]) for lab, test, seed in filter(None, lines)]


def wanted(words):
    """What to try."""
    def seeds(count):
        return [random.SystemRandom().randrange(1 << 32) for _ in range(count)]

    if words:
        return [(words[0], words[1], seeds(int(words[2]) if words[2:] else COUNT))]
    found = remembered()
    if kept.ALL:
        for number in course.graded_labs():
            found += [(str(number), test.name, seeds(COUNT)) for test in course.load(str(number)).tests
                      if test.points and test.evidence != "reported" and test.name != grader.WHOLE]
    return found


def first_bad(lab, test, image, seeds, out):
    """(verdict, how many were tried): the first that is no pass, or None."""
    for count, seed in enumerate(seeds, 1):
        place = out / f"{test.name}-{seed}"
        verdict = attempt.run_check(lab, test, image, seed, place)
        shutil.rmtree(place, ignore_errors=True)
        if verdict.verdict != "pass":
            return verdict, count
    return None, len(seeds)


def loaded():
    """No instruction of the mixes writes by an address that the one before it has loaded: that would be anywhere."""
    wild, code = [], loops.begun(random.Random(1))
    for _ in range(5000):
        lines, _ = code.one()
        wild += [pair for pair in zip(lines, lines[1:]) if (load := re.fullmatch(r"mov (e\w\w), .*\[.*", pair[0]))
                 and re.search(rf"\[[^]]*{load[1]}", pair[1])]
    ok(not wild, "random code writes where it means to", wild=wild[:3])


def try_lab(lab, work, out):
    """All that is wanted of one lab: (test's name, seeds)."""
    tree = build.Tree(lab, ref=" ".join(map(str, lab.needed_labs())) or None)
    try:
        image = tree.build(build.take_folder(ROOT / "solutions" / lab.dir, lab), out / "image")
        image.guests = tree.build_guests(out / "image")
    finally:
        tree.remove()
    if not ok(image.ok, f"the reference of lab {lab.number} builds", log=image.log):
        return
    work = [(lab.test(name), seeds) for name, seeds in work]
    with ThreadPoolExecutor(JOBS) as pool:
        found = pool.map(lambda one: first_bad(lab, one[0], image, one[1], out), work)
        for (test, seeds), (bad, count) in zip(work, found):
            title = f"lab {lab.number}, {test.name}: " + (f"seed {seeds[0]}" if len(seeds) == 1
                                                          else f"{len(seeds)} seeds")
            if all(machine.missing(name) for name in test.machines):
                skip(title, "no machine for it")
                continue
            ok(not bad and count, title, seed=bad and bad.seed, why=bad and f"{bad.verdict}: {bad.reason}",
               expected=bad and bad.expected, got=bad and bad.got)


def main():
    """One lab after the other."""
    if not (ROOT / "solutions").is_dir():
        print("1..0 # SKIP no solutions in this tree")
        return
    attempt.add_checks_to_path()
    loaded()
    by_lab = {}
    for number, test, seeds in wanted(sys.argv[1:]):
        by_lab.setdefault(number, []).append((test, seeds))
    with tempfile.TemporaryDirectory(prefix="zeno-seeds-") as scratch:
        tempfile.tempdir = scratch
        for number, work in by_lab.items():
            try_lab(course.load(number), work, Path(scratch) / f"lab{number}")
    finish()


main()
