#!/usr/bin/env python3
"""Labs 2, 3, 4, 4s, 5, 6, 7, 8, 9 and 10 with something not done: the grader must see it.

A whole exercise as handed out earns nothing for itself. A lettered part of one, whose call of
exercise_todo() was taken out and nothing put in, fails a test of its exercise. And the first half of
a lab earns all of its points while the second one (2B) is as handed out.
`tests/undone.t WORD...` tries parts (3.5d), exercises (3.5) and halves (2B), `all` of them in a quarter
of an hour, as `make check-all` does; without words every third one of those exercises whose other tests earn nothing only by
what they rest on, and the others after the next commits.
"""

import os
import string
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "grade"), str(ROOT / "tools"), str(ROOT / "tests" / "lib")]
sys.dont_write_bytecode = True

import harness  # noqa: E402
import region  # noqa: E402
import turn  # noqa: E402
from zeno.judging import attempt, build, course, grader, kept, trial  # noqa: E402
from zeno.machines import machine  # noqa: E402

LABS = (2, 3, 4, "4s", 5, 6, 7, 8, 9, 10)
ALWAYS = ("2.4", "2B", "3B", "3.8", "4B", "4sB")
"""What is tried where nobody says which: every third one, the others after the next commits, and those of a lab whose
solutions a commit changes."""
SEED = int(os.environ.get("SEED", "0")) or None
JOBS = os.cpu_count() or 2
PARTS = 3
STEPWISE = ("7.3",)
"""Exercises of whose tests each says at which step of a guest's it went wrong, and not just that the machine came to no end."""
KEPT = kept.Kept(ROOT)


def undone(lab, ids, keep_todo):
    """The solution's files with these regions as a student has them who did nothing there."""
    files = build.take_folder(ROOT / "solutions" / lab.dir, lab)
    for name, data in files.items():
        text = data.decode()
        bodies = {}
        for one in region.parse(text, name):
            if one.id not in ids:
                continue
            todo = region.todo_of(one, name, lab.page(one.exercise))
            lines = [todo] * (keep_todo and one.indent != "") + [line for line in one.until if line != todo]
            bodies[one.id] = [one.indent + line for line in lines]
        files[name] = region.with_bodies(text, region.parse(text, name), bodies).encode()
    return files


def regions(lab):
    """The ids of a lab's regions, in order."""
    found = []
    for name, data in build.take_folder(ROOT / "solutions" / lab.dir, lab).items():
        found += [one.id for one in region.parse(data.decode(), name) if not one.free]
    return sorted(found)


def part(lab, ident, image, out):
    """The first test of its exercise that fails, or None; and what passed before."""
    passed, name = [], KEPT.image(image)
    seed = SEED or 1
    for test in lab.exercise(ident.rstrip(string.ascii_lowercase)).tests:
        if not test.points or all(machine.missing(name) for name in test.machines):
            continue
        verdict = KEPT.find(name, test, seed) or attempt.run_check(lab, test, image, seed, out / test.name)
        KEPT.keep(name, test, seed, verdict)
        if verdict.verdict == "fail":
            return verdict, passed
        passed.append(f"{test.name}: {verdict.verdict} {verdict.reason}")
    return None, passed


def vague(ident, verdicts):
    """What such a test says that says no step."""
    return [f"{v.test}: {v.reason}" for v in verdicts if ident.startswith(STEPWISE) and any(text in v.reason for text in trial.END_IN_WORDS.values())]


def try_part(lab, tree, guests, ident, out):
    """A region."""
    image = tree.build(undone(lab, {ident}, False), out)
    image.guests = guests
    harness.ok(image.ok, f"{ident} undone builds", log=image.log)
    if image.ok:
        killed, passed = part(lab, ident, image, out)
        unsaid = vague(ident, [killed] if killed else [])
        harness.ok(killed and not unsaid, f"{ident} undone fails {killed.test if killed else 'nothing'}",
                   cached=killed and killed.cached, passed=passed, unsaid=unsaid)


def try_exercise(lab, tree, guests, one, ids, out):
    """A whole exercise: it earns nothing."""
    image = tree.build(undone(lab, ids, True), out)
    image.guests = guests
    harness.ok(image.ok, f"{one.id} as handed out builds", log=image.log)
    if not image.ok:
        return
    work = grader.Grader(lab, image, grader.OutFolder(out / "results").path, JOBS, SEED, kept=KEPT,
                         only=[test.name for test in one.tests])
    verdicts = work.run()
    earned = [v.test for v in work.of(one.id) if v.earned]
    broken = [v.reason for v in verdicts.values() if v.verdict == "error"]
    unsaid = vague(one.id, verdicts.values())
    harness.ok(not earned and not broken and not unsaid, f"{one.id} as handed out earns nothing",
               cached=kept.all_cached(verdicts.values()), earned=earned,
               trouble=broken, unsaid=unsaid, seed=work.seed)


def try_half(lab, tree, guests, later, out):
    """The second half as handed out: the first half's points are all there."""
    ids = {i for i in regions(lab) if i.rstrip(string.ascii_lowercase) in later}
    image = tree.build(undone(lab, ids, True), out)
    image.guests = guests
    name = f"lab {lab.number} without its second half"
    harness.ok(image.ok, f"{name} builds", log=image.log)
    if not image.ok:
        return
    first = [one for one in lab.exercises if one.id not in later]
    work = grader.Grader(lab, image, grader.OutFolder(out / "results").path, JOBS, SEED, kept=KEPT,
                         only=[test.name for one in first for test in one.tests])
    verdicts = work.run()
    lost = [f"{v.test}: {v.verdict} {v.reason}" for one in first for v in work.of(one.id)
            if v.points and not v.earned and not (v.verdict == "skip" and "no machine" in v.reason)]
    harness.ok(verdicts and not lost, f"{name} earns the first half's points",
               cached=kept.all_cached(verdicts.values()), lost=lost,
               seed=work.seed)


def this_time():
    """The parts of ALWAYS that are tried after this commit."""
    changed = turn.changed()
    touched = {str(number) for number in LABS
               if any(path.startswith(f"solutions/{course.load(number).dir}/") for path in changed)}
    return {name for at, name in enumerate(ALWAYS, turn.turn(PARTS))
            if at % PARTS == 0 or name.split(".")[0].rstrip("AB") in touched}


def main():
    """Every lab of LABS."""
    wanted = set(sys.argv[1:]) or ({"all"} if kept.ALL else this_time())
    attempt.add_checks_to_path()
    with tempfile.TemporaryDirectory(prefix="zeno-undone-") as scratch:
        tempfile.tempdir = scratch
        for number in LABS:
            lab = course.load(number)
            ids = regions(lab)
            todo = [i for i in ids if "all" in wanted or i in wanted]
            whole = [one for one in lab.exercises if "all" in wanted or one.id in wanted]
            later = {one.id for one in lab.exercises if one.half == "B"}
            half = 0 < len(later) < len(lab.exercises) and ("all" in wanted or f"{number}B" in wanted)
            if not todo and not whole and not half:
                continue
            out = Path(scratch) / f"lab{number}"
            tree = build.Tree(lab, ref=" ".join(map(str, lab.needed_labs())))
            guests = tree.build_guests(out / "common")
            for ident in todo:
                try_part(lab, tree, guests, ident, out / ident)
            for one in whole:
                mine = {i for i in ids if i.rstrip(string.ascii_lowercase) == one.id}
                try_exercise(lab, tree, guests, one, mine, out / f"{one.id}-whole")
            if half:
                try_half(lab, tree, guests, later, out / "half")
            tree.remove()
    harness.finish()


main()
