#!/usr/bin/env python3
"""Rewards of a lab, on tests/grader.t's made-up lab: points on top, which need all exercises and take none from the reference."""

import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok  # noqa: E402

sys.dont_write_bytecode = True
LOADER = importlib.machinery.SourceFileLoader("made", str(ROOT / "tests" / "grader.t"))
made = importlib.util.module_from_spec(importlib.util.spec_from_loader("made", LOADER))
LOADER.exec_module(made)
from zeno.judging import build, cli, course, formats, trial  # noqa: E402

REWARD = """
[[rewards]]
name = "more"
title = "made up"
points = 5
evidence = "witnessed"
check = "madeup.{}"
"""


def skips(_t):
    """Can't be tried here."""
    raise trial.Skipped("what it needs is not here")


def rewards():
    """Their points come on top, of the own whole alone; who has none has lost nothing."""
    for what, test, check_, options, expected in (
            ("where all passes, a reward's points come on top", "passes", "passes", {}, ("pass", 45 + 8, 5, False)),
            ("one that fails costs nothing", "passes", "fails", {}, ("fail", 45 + 8, 0, True)),
            ("nor one that can't be tried", "passes", "skips", {}, ("skip", 45 + 8, 0, False)),
            ("where something fails it is not tried", "fails", "passes", {}, ("skip", 40 + 40 * 8 // 45, 0, True)),
            ("... nor where it passes with the reference's others", "in_others", "passes", {"alone": made.Others(build.Image(True, "others"))},
             ("skip", 45 + 40 * 8 // 45, 0, True)),
            ("... but for whom asks, and for no points", "fails", "passes", {"only": ["more"]}, ("pass", 0, 0, False)),
            ("it is the own whole's alone", "passes", "in_others", {"only": ["more"], "alone": made.Others(build.Image(True, "others"))},
             ("fail", 0, 0, True))):
        text = made.LAB + made.a_test("first", test) + made.a_test("second", exercise="7.2", points=40)
        lab = course._with_whole(course.parse(text + REWARD.format(check_)))  # pylint: disable=protected-access
        work, shown = made.run_lab(lab, **options)
        found = work.verdicts["more"].verdict, work.earned, work.bonus, work.status != cli.PASS
        ok(found == expected and lab.points == 45 + 8, what, got=found, expected=expected, shown=shown)
        ok((", and 5 more by a reward." in shown) == bool(work.bonus) and work.saved["bonus"] == work.bonus, "... and it is said", got=shown)
    listed = formats.Files(lab, types.SimpleNamespace(junit=None, gradescope=None, out=None)).results["all_tests"][-1]
    ok((listed["test"], listed["points"]) == ("more", 0), "other formats have it as a test of no points, which earns some", got=listed)
    two = made.LAB + made.a_test("one") + made.a_test("second", exercise="7.2", points=40)
    for what, wrong, said in (("of many points", ("= 5", "= 6"), "1 to 5 points"), ("reported", ("witnessed", "reported"), "evidence is"),
                              ("of no half", ("points", 'half = "A"\npoints'), "no halves"), ("of a test's name", ('"more"', '"one"'), "two of it")):
        refused(f"a reward {what}", two + REWARD.format("passes").replace(*wrong), said)


def refused(what, text, words):
    """The loader does not take it."""
    try:
        course.parse(text)
        ok(False, f"{what} was taken")
    except course.CourseError as error:
        ok(words in str(error), f"{what} is refused", got=error)


def main():
    """Both."""
    import checks  # pylint: disable=import-outside-toplevel
    made.CHECKS.skips = skips
    sys.modules["checks.madeup"] = checks.madeup = made.CHECKS
    rewards()
    finish()


main()
