#!/usr/bin/env python3
"""`make hint EX=0.5`: open the exercise's next hint.

The first one is there at once. Each further one opens when the exercise's code is not what it was at the hint
before, and its tests have run on that code since. What was opened, and on which code tests ran, stands in
.hints, which git ignores. Hints cost nothing and prove nothing: they are readable in the tree. `make submit`
tells their number, unless .hints is removed first.

Hints stand in the solutions' regions; where those are not, the export has put them into grade/hints/.
"""

import argparse
import json
import os
import sys
import textwrap
import tomllib
from pathlib import Path

import region
from course import ROOT, CourseError, lab_numbers, load_lab
from skeletons import digest, hints_setting

STATE = ".hints"
WIDTH = 100


def of_lab(root, lab):
    """{exercise: [hint, ...]} of a lab."""
    data = Path(root) / "grade" / "hints" / f"lab{lab.number}.toml"
    if lab.solutions.is_dir():
        if hints_setting(root) == "none":
            return {}
        found = {}
        for name in lab.names():
            for one in region.parse((lab.solutions / name).read_text(), name):
                found.setdefault(one.exercise, []).extend(one.hints)
        return {ident: hints for ident, hints in found.items() if hints}
    if data.is_file():
        return {one["exercise"]: one["hints"] for one in tomllib.loads(data.read_text()).get("graded", [])}
    return {}


def code_of(lab, exercise, read):
    """A hash of an exercise's regions, or None if they can't be read; `read(name)` gives a file's text."""
    bodies = []
    for name in lab.names():
        try:
            regions = region.parse(read(name), name)
        except (OSError, KeyError, region.RegionError):
            continue
        bodies += [[one.id, *one.body] for one in regions if one.exercise == exercise]
    return digest([line for body in sorted(bodies) for line in body]) if bodies else None


def in_labs(lab):
    """Reads the student's files."""
    return lambda name: (lab.labs / name).read_text(errors="replace")


def load(root):
    """.hints: {"opened": {exercise: {"count", "code"}}, "ran": {exercise: code}}."""
    try:
        state = json.loads((Path(root) / STATE).read_text())
        return {"opened": dict(state["opened"]), "ran": dict(state["ran"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"opened": {}, "ran": {}}


def save(root, state):
    """Replace .hints in one step."""
    path = Path(root) / STATE
    fresh = path.with_name(f".hints.{os.getpid()}.new")
    fresh.write_text(json.dumps(state, indent=1, sort_keys=True) + "\n")
    fresh.replace(path)


def note_runs(root, number, exercises, read):
    """The grader has run these exercises' tests on the code that `read` gives."""
    lab = load_lab(number, root)
    state = load(root)
    known = of_lab(root, lab)
    fresh = {one: code_of(lab, one, read) for one in exercises if one in known}
    if any(state["ran"].get(one) != code for one, code in fresh.items()):
        state["ran"] |= fresh
        save(root, state)


def counts(root, lab):
    """{exercise: hints opened} of a lab or half."""
    opened = load(root)["opened"]
    return {one: entry["count"] for one, entry in sorted(opened.items())
            if one.split(".")[0] == str(lab.number) and lab.owns(one)}


def locked(state, exercise, code):
    """Why the next hint stays shut, or None."""
    last = state["opened"].get(exercise)
    if last is None:
        return None
    if code == last["code"]:
        return "change your code first: it is what it was at the last hint"
    if state["ran"].get(exercise) in (None, last["code"]):
        return f"run its tests on what you have now: make grade LAB={exercise.split('.')[0]} ONLY={exercise}"
    return None


def open_next(root, exercise):
    """The text to print. CourseError where there is nothing to open."""
    found = [number for number in lab_numbers(root) if str(number) == exercise.split(".")[0]]
    if not found:
        raise CourseError("say which exercise: make hint EX=0.5")
    lab = load_lab(found[0], root)
    if lab.solutions.is_dir() and hints_setting(root) == "none":
        raise CourseError("this course gives no hints (course.toml)")
    hints = of_lab(root, lab)
    if exercise not in hints:
        there = ", ".join(hints) or "none"
        raise CourseError(f"exercise {exercise} has no hints; exercises of lab {lab.number} that have: {there}")
    state, code = load(root), code_of(lab, exercise, in_labs(lab))
    count = state["opened"].get(exercise, {}).get("count", 0)
    texts = hints[exercise]
    if count < len(texts) and locked(state, exercise, code) is None:
        count += 1
        state["opened"][exercise] = {"count": count, "code": code}
        save(root, state)
    lines = []
    for at, text in enumerate(texts[:count], 1):
        lines += textwrap.wrap(f"Hint {at} of {len(texts)}: {text}", WIDTH)
    if count == len(texts):
        lines.append("That was the last one.")
    else:
        lines.append(f"The next one is shut; {locked(state, exercise, code)}.")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exercise", nargs="?", default="")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args()
    try:
        print(open_next(args.root.resolve(), args.exercise))
    except (CourseError, region.RegionError, OSError) as error:
        print(f"hint: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
