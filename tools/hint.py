#!/usr/bin/env python3
"""`make hint EX=0.5`: open the exercise's next hint. `make hint RULE="guest CR0"`: the likely mistake behind a broken rule.

The first one is there at once. Each further one opens when the exercise's code is not what it was at the hint
before, and its tests have run on that code since. What was opened, and on which code tests ran, stands in
.hints, which git ignores. Hints cost nothing and prove nothing: they are readable in the tree. `make submit`
tells their number, unless .hints is removed first.

Hints stand in the solutions' regions; where those are not, the export has put them into grade/hints/. What is likely
behind a rule that the checker of VM entries, or of VMRUN, found broken stands in grade/rules.toml; it is not counted.
"""

import argparse
import difflib
import itertools
import json
import os
import re
import string
import sys
import textwrap
import tomllib
from pathlib import Path

import region
import trouble
from course import ROOT, CourseError, lab_numbers, load_lab
from skeletons import digest, hints_setting

STATE = ".hints"
WIDTH = 100


def exercise_of(ident):
    """The exercise that a region belongs to: 0.5 for 0.5a."""
    return ident.rstrip(string.ascii_lowercase)


def of_lab(root, lab):
    """{region: [hint, ...]} of a lab: 0.6, or of an exercise in several pieces 0.5a, 0.5b."""
    data = Path(root) / "grade" / "hints" / f"lab{lab.number}.toml"
    if lab.solutions.is_dir():
        if hints_setting(root) == "none":
            return {}
        found = {}
        for name in lab.names():
            for one in region.parse((lab.solutions / name).read_text(), name):
                if one.hints:
                    found[one.id] = one.hints
        return found
    if data.is_file():
        return {one["exercise"]: one["hints"] for one in tomllib.loads(data.read_text()).get("graded", [])}
    return {}


def code_of(lab, ident, read):
    """A hash of a region, or None if it can't be read; `read(name)` gives a file's text."""
    for name in lab.names():
        try:
            regions = region.parse(read(name), name)
        except (OSError, KeyError, region.RegionError):
            continue
        for one in regions:
            if one.id == ident:
                return digest(one.body)
    return None


def in_labs(lab):
    """Reads the student's files."""
    return lambda name: (lab.labs / name).read_text(errors="replace")


def load(root):
    """.hints: {"opened": {region: {"count", "code"}}, "ran": {region: code}}."""
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
    fresh = {ident: code_of(lab, ident, read) for ident in of_lab(root, lab) if exercise_of(ident) in exercises}
    if any(state["ran"].get(one) != code for one, code in fresh.items()):
        state["ran"] |= fresh
        save(root, state)


def counts(root, lab):
    """{region: hints opened} of a lab or half."""
    opened = load(root)["opened"]
    return {one: entry["count"] for one, entry in sorted(opened.items())
            if one.split(".")[0] == str(lab.number) and lab.owns(exercise_of(one))}


def locked(state, lab, exercise, code):
    """Why the next hint stays shut, or None. Where a lab has halves, they are the assignments."""
    last = state["opened"].get(exercise)
    if last is None:
        return None
    if code == last["code"]:
        return "change your code first: it is what it was at the last hint"
    if state["ran"].get(exercise) in (None, last["code"]):
        whole = exercise_of(exercise)
        return f"run its tests on what you have now: make grade LAB={lab.number}{lab.half_of.get(whole, '')} ONLY={whole}"
    return None


def open_next(root, exercise):
    """The text to print: a hint, or how to ask for the pieces' own. CourseError where there is nothing to open."""
    found = [number for number in lab_numbers(root) if str(number) == exercise.split(".")[0]]
    if not found:
        raise CourseError("say which exercise: make hint EX=0.5")
    lab = load_lab(found[0], root)
    if lab.solutions.is_dir() and hints_setting(root) == "none":
        raise CourseError("this course gives no hints (course.toml)")
    hints = of_lab(root, lab)
    pieces = [ident for ident in hints if exercise_of(ident) == exercise]
    if exercise not in hints and pieces:
        asks = "\n".join(f"  make hint EX={piece}" for piece in pieces)
        return f"Exercise {exercise} has {len(pieces)} pieces, each with hints of its own. Ask for one of them:\n{asks}"
    if exercise not in hints:
        there = ", ".join(hints) or "none"
        raise CourseError(f"exercise {exercise} has no hints; exercises of lab {lab.number} that have: {there}")
    state, code = load(root), code_of(lab, exercise, in_labs(lab))
    count = state["opened"].get(exercise, {}).get("count", 0)
    texts = hints[exercise]
    if count < len(texts) and locked(state, lab, exercise, code) is None:
        count += 1
        state["opened"][exercise] = {"count": count, "code": code}
        save(root, state)
    lines = []
    for at, text in enumerate(texts[:count], 1):
        lines += textwrap.wrap(f"Hint {at} of {len(texts)}: {text}", WIDTH)
    if count == len(texts):
        lines.append("That was the last one.")
    else:
        lines.append(f"The next one is shut; {locked(state, lab, exercise, code)}.")
    return "\n".join(lines)


def spelled(field):
    """The names that a rule's `field` stands for; where it stands for any segment, those with CS."""
    for pattern, example in ((".{2,4}", "CS"), ("E.P", "ESP"), (r"\.", "\0"), ("..", "CS"), ("\0", ".")):
        field = field.replace(pattern, example)
    parts = re.findall(r"\(([^)]*)\)|\[([^]]*)\]|([^(\[|]+)|(\|)", field)
    ways = [[]]
    for group, letters, plain, other in parts:
        if other:
            ways.append([])
        else:
            ways[-1].append(spelled(group) if group else "0123" if letters == "0-3" else letters or [plain])
    return ["".join(one) for way in ways for one in itertools.product(*way)]


def near(line, names):
    """Up to six of the names that are like what was asked for."""
    asked, by_case = line.strip().lower(), {name.lower(): name for name in names}
    found = difflib.get_close_matches(asked, by_case, 6, 0.6)
    found += [one for one in by_case if set(asked.split()) & set(one.split())]
    return [by_case[one] for one in dict.fromkeys(found)][:6]


def behind_rule(root, line):
    """The likely mistake behind a broken rule. `line` is its field, or the line that Zeno printed, or a part with both."""
    if hints_setting(root) == "none":
        raise CourseError("this course gives no hints (course.toml)")
    here = {str(number) for number in lab_numbers(root)}
    known = tomllib.loads((root / "grade" / "rules.toml").read_text())
    for one in known.get("open", []):
        if one["lab"] in here and f"exercise {one['exercise']}" in line.lower():
            return "\n".join(textwrap.wrap(f"Lab {one['lab']}, before {one['exercise']} is done: {' '.join(one['fields'].split())}", WIDTH))
    for one in known["rules"]:
        field = re.search(rf"(?:^|: )({one['field']})(?: = |:|$)", line.strip(), re.I)
        # A field alone fits each rule of it, and the usual one comes first.
        words = line[field.end():] if field else ""
        if one["lab"] in here and field and (not words or re.search(one.get("words", ""), words)):
            told = f"Lab {one['lab']}, {field[1]}: {' '.join(one['mistake'].split())}"
            return "\n".join(textwrap.wrap(told, WIDTH))
    names = near(line, [name for one in known["rules"] if one["lab"] in here for name in spelled(one["field"])])
    like = f" (near it: {', '.join(names)})" if names else ""
    raise CourseError(f"no rule is about {line!r}{like}: say the field, as in RULE=\"guest CR0\", or the whole line")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exercise", nargs="?", default="")
    parser.add_argument("--rule", default="")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args()
    try:
        root = args.root.resolve()
        print(behind_rule(root, args.rule) if args.rule else open_next(root, args.exercise))
    except (CourseError, region.RegionError, OSError) as error:
        print(f"hint: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
