#!/usr/bin/env python3
"""Mutants: mistakes that students make, as small patches to the solutions.

grade/mutants/N.k-name.patch:

    exercise: 1.4
    symptom: a regular expression that the failure's text matches
    hint: what to look at, in a sentence or two; it may go on in
          lines that are indented
    caught-by: hostile
    --- a/solutions/1-trap-emulate/emulate.c
    +++ b/solutions/1-trap-emulate/emulate.c
    @@ ... @@

`caught-by: hostile` marks those that only a hostile guest catches. A patch may touch only lines inside
of regions of its own exercise. It is found by its lines, not by its line numbers, so that it survives
changes elsewhere in the file.

    mutants.py list [N]           names
    mutants.py check [N]          fails on a mutant that is malformed or does not fit the solutions
    mutants.py apply NAME TREE    into a copy of the tree, never into the work tree itself
    mutants.py killers            writes down in grade/mutants/killers.txt which tests killed them last
    mutants.py tree NAME DIR      makes that copy (without build/ and history) and applies
"""

import argparse
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import region
import trouble
from course import EXERCISE, ROOT, CourseError, lab_numbers, load_lab, number_of, parse_table

NAME = re.compile(rf"{EXERCISE}-[a-z0-9-]+\Z")
KILLERS = "killers.txt"
"""In grade/mutants/ and in build/grade/: a line for each mutant, its name, the test that killed it last, and behind `not` those
of its exercise's tests that let it pass, where they were tried (tests/grader-labs.t sets EXERCISE)."""
KILLERS_HEAD = "# Which test killed a mutant last, so that it is tried first: `python3 tools/mutants.py killers` writes this.\n"
KEYS = ("exercise", "symptom", "hint", "caught-by")
FILE = re.compile(r"(?:---|\+\+\+) [ab]/(solutions/[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)\s*\Z")
HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


class MutantError(Exception):
    """A mutant that is not as it must be; the text starts with its file."""


@dataclass
class Hunk:
    """Consecutive lines to look for, and what takes their place."""

    line: int
    old: list = field(default_factory=list)
    new: list = field(default_factory=list)


@dataclass
class Mutant:
    """One mistake."""

    name: str
    exercise: str
    symptom: str
    hint: str
    caught_by: str
    files: dict
    """{path: [Hunk]}, paths from the root."""

    @property
    def lab(self):
        """The lab's number."""
        return number_of(self.exercise.split(".")[0])


def header(lines, where):
    """The words above the diff, and the index of the diff's first line."""
    table, last = {}, None
    for i, line in enumerate(lines):
        if line.startswith("--- "):
            return table, i
        found = re.match(r"([a-z-]+):\s*(.*)", line)
        if found and found[1] in KEYS and found[1] not in table:
            last = found[1]
            table[last] = found[2].strip()
        elif last and line[:1].isspace() and line.strip():
            table[last] += " " + line.strip()
        elif line.strip():
            raise MutantError(f"{where}:{i + 1}: neither a line `key: words` nor its continuation; "
                              f"keys: {', '.join(KEYS)}")
    raise MutantError(f"{where}: there is no diff in it")


def hunk_at(lines, i, where):
    """The hunk whose @@ line is line i, and the index of what follows."""
    found = HUNK.match(lines[i])
    if not found:
        raise MutantError(f"{where}:{i + 1}: a line `@@ -a,b +c,d @@` belongs here")
    hunk = Hunk(int(found[1]))
    want_old, want_new = int(found[2] or 1), int(found[4] or 1)
    start = i
    while len(hunk.old) < want_old or len(hunk.new) < want_new:
        i += 1
        mark = lines[i][:1] if i < len(lines) else ""
        text = lines[i][1:] if i < len(lines) else ""
        if mark not in (" ", "-", "+") and i < len(lines) and lines[i] != "":
            raise MutantError(f"{where}:{i + 1}: the hunk has fewer lines than it says")
        if i >= len(lines):
            raise MutantError(f"{where}:{start + 1}: the hunk has fewer lines than it says")
        if mark != "+":
            hunk.old.append(text)
        if mark != "-":
            hunk.new.append(text)
    if len(hunk.old) != want_old or len(hunk.new) != want_new:
        raise MutantError(f"{where}:{start + 1}: the hunk's lines are not as many as it says")
    if hunk.old == hunk.new:
        raise MutantError(f"{where}:{start + 1}: the hunk changes nothing")
    return hunk, i + 1


def diff(lines, i, where):
    """{path: [Hunk]} of a unified diff that starts in line i."""
    files = {}
    while i < len(lines):
        if not lines[i].strip():
            i += 1
            continue
        old = FILE.match(lines[i])
        new = FILE.match(lines[i + 1]) if i + 1 < len(lines) else None
        if not (old and new and old[1] == new[1] and lines[i].startswith("---")):
            raise MutantError(f"{where}:{i + 1}: `--- a/solutions/...` and `+++ b/` the same belong "
                              "here")
        hunks = files.setdefault(old[1], [])
        i += 2
        while i < len(lines) and lines[i].startswith("@@"):
            hunk, i = hunk_at(lines, i, where)
            hunks.append(hunk)
        if not hunks:
            raise MutantError(f"{where}:{i}: no hunk for {old[1]}")
    return files


def load(path):
    """The Mutant in a file. MutantError says what is wrong with it."""
    path = Path(path)
    where = path.name
    name = NAME.match(path.stem)
    if not name or path.suffix != ".patch":
        raise MutantError(f"{where}: a mutant's file is called N.k-some-words.patch")
    lines = path.read_text(errors="replace").split("\n")
    table, start = header(lines, where)
    for key in ("exercise", "symptom", "hint"):
        if not table.get(key):
            raise MutantError(f"{where}: `{key}:` is missing")
    if table["exercise"] != f"{name[1]}.{name[2]}":
        raise MutantError(f"{where}: its name and `exercise: {table['exercise']}` disagree")
    if table.get("caught-by", "hostile") != "hostile":
        raise MutantError(f"{where}: `caught-by:` can only be hostile")
    try:
        re.compile(table["symptom"])
    except re.error as error:
        raise MutantError(f"{where}: `symptom:` is no regular expression: {error}") from None
    return Mutant(path.stem, table["exercise"], table["symptom"], table["hint"],
                  table.get("caught-by", ""), diff(lines, start, where))


def load_all(root=ROOT, number=None):
    """All mutants of a lab, or of all labs."""
    paths = sorted((Path(root) / "grade" / "mutants").glob("*.patch"))
    found = [load(path) for path in paths]
    return [one for one in found if number is None or one.lab == number]


def places(lines, old):
    """Where these lines stand in a file."""
    return [i for i in range(len(lines) - len(old) + 1) if lines[i:i + len(old)] == old]


def patched(text, hunks, where):
    """The text after the hunks; also [(first, last)] of the old lines that were changed."""
    lines, touched = text.split("\n"), []
    spots = []
    for hunk in hunks:
        found = places(lines, hunk.old)
        if not found:
            raise MutantError(f"{where}: the lines of the hunk `@@ -{hunk.line}` are not there")
        spot = min(found, key=lambda i: abs(i + 1 - hunk.line))
        spots.append((spot, hunk))
        same = 0
        while same < min(len(hunk.old), len(hunk.new)) and hunk.old[same] == hunk.new[same]:
            same += 1
        tail = 0
        while (tail < min(len(hunk.old), len(hunk.new)) - same
               and hunk.old[-1 - tail] == hunk.new[-1 - tail]):
            tail += 1
        touched.append((spot + same, spot + len(hunk.old) - tail))
    spots.sort(key=lambda pair: pair[0])
    for (a, first), (b, _) in zip(spots, spots[1:]):
        if a + len(first.old) > b:
            raise MutantError(f"{where}: hunks overlap")
    for spot, hunk in reversed(spots):
        lines[spot:spot + len(hunk.old)] = hunk.new
    return "\n".join(lines), touched


def check(mutant, root=ROOT):
    """Fail unless the mutant fits the solutions, inside of regions of its exercise."""
    for name, hunks in mutant.files.items():
        path = Path(root) / name
        if not path.is_file():
            raise MutantError(f"{mutant.name}: {name} is not there")
        text = path.read_text()
        _, touched = patched(text, hunks, f"{mutant.name}: {name}")
        mine = [one for one in region.parse(text, name)
                if one.exercise == mutant.exercise or one.free]
        for first, last in touched:
            if not any(one.body_start <= first and last <= one.end for one in mine):
                raise MutantError(f"{mutant.name}: {name}:{first + 1} is in no region of "
                                  f"EXERCISE {mutant.exercise}")


def apply(mutant, tree):
    """Change the solutions of a scratch tree. Refuses the work tree."""
    tree = Path(tree).resolve()
    if tree == ROOT or (tree / ".git").exists():
        raise MutantError(f"{mutant.name}: {tree} is a work tree; mutants go into copies")
    for name, hunks in mutant.files.items():
        path = tree / name
        text, _ = patched(path.read_text(), hunks, f"{mutant.name}: {name}")
        path.write_text(text)


def scratch(target, root=ROOT):
    """Copy the tree without history and build products."""
    def skip(folder, names):
        top = Path(folder) == Path(root)
        return [n for n in names if n == "__pycache__" or top and n in (".git", "build")]

    shutil.copytree(root, target, ignore=skip, symlinks=True)


def find(name, root=ROOT):
    """The mutant with this name."""
    path = Path(root) / "grade" / "mutants" / f"{name}.patch"
    if not NAME.match(name) or not path.is_file():
        raise MutantError(f"there is no mutant {name!r}")
    return load(path)


def check_all(root, number=None):
    """One line for each thing that is wrong with the mutants."""
    trouble = []
    for path in sorted((root / "grade" / "mutants").glob("*")):
        if path.name == KILLERS:
            continue
        try:
            one = load(path)
            if number is not None and one.lab != number:
                continue
            if one.lab not in lab_numbers(root) or not load_lab(one.lab, root).solutions.is_dir():
                raise MutantError(f"{path.name}: lab {one.lab} has no solution here")
            check(one, root)
        except (MutantError, region.RegionError, CourseError) as error:
            trouble.append(str(error))
    return trouble or stale_killers(root, number) or alike(root, number)


def stale_killers(root, number):
    """One line for each mutant of which nobody wrote down what kills it, or a test that does not judge it.

    The first test that fails is the one whose words the symptom must find, so which comes first may not be left open.
    """
    path = root / "grade" / "mutants" / KILLERS
    if not path.is_file():
        return []
    known, passed, judged = written(path), survived(path), set()
    for lab in lab_numbers(root):
        table = parse_table((root / "grade" / "labs" / f"{lab}.toml").read_text(), f"grade/labs/{lab}.toml")
        judged |= {(one["exercise"], one["name"]) for one in table.get("tests", [])}
    found = []
    for one in load_all(root, number):
        killer = known.get(one.name)
        if not killer:
            found.append(f"{one.name}: {KILLERS} does not have it: try it with tests/grader-labs.t {one.name}, then "
                         "`python3 tools/mutants.py killers`")
        for test in [killer, *passed.get(one.name, ())] if killer else ():
            if (one.exercise, test) not in judged:
                found.append(f"{one.name}: {KILLERS} has {test}, which is no test of exercise {one.exercise}")
    return found


def alike(root, number):
    """One line for each exercise whose tests are not known to differ: each is to see a mistake that another one lets pass.

    Tests are tried in their order up to the first that kills, so two killers of an exercise's mutants have different sets:
    what the later one killed the earlier one has let pass.
    """
    path = root / "grade" / "mutants" / KILLERS
    if not path.is_file():
        return []
    known, passed, found = written(path), survived(path), []
    mine = load_all(root, number)
    for exercise in dict.fromkeys(one.exercise for one in mine):
        names = [one.name for one in mine if one.exercise == exercise]
        if len({known[name] for name in names}) < 2 and not any(passed.get(name) for name in names):
            found.append(f"exercise {exercise}: no mutant tells its tests apart: `tests/grader-labs.t sets {exercise}` tries them all; "
                         "a test that kills what all others kill needs a mutant of its own")
    return found


def known_killers(root=ROOT):
    """{mutant: the test that killed it last}: what is written down, and what has been seen since."""
    return {name: test for path in of_killers(root) for name, test in written(path).items()}


def known_passed(root=ROOT):
    """{mutant: the tests of its exercise that let it pass}, where somebody has tried all."""
    return {name: tests for path in of_killers(root) for name, tests in survived(path).items()}


def of_killers(root):
    """The files of killers that are there, the latest last."""
    return [path for path in (root / "grade" / "mutants" / KILLERS, root / "build" / "grade" / KILLERS) if path.is_file()]


def rows(path):
    """[(mutant, its killer, [tests that let it pass])] of a file of killers."""
    found = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    return [(words[0], words[1], words[3:]) for words in found]


def written(path):
    """{mutant: test} of a file of killers."""
    return {name: test for name, test, _ in rows(path)}


def survived(path):
    """{mutant: [tests of its exercise that let it pass]} of a file of killers."""
    return {name: passed for name, _, passed in rows(path) if passed}


def killers_row(name, test, passed=()):
    """A line of a file of killers."""
    return " ".join((name, test, *(("not", *passed) if passed else ()))) + "\n"


def keep_killers(root):
    """Write down what tests/grader-labs.t has seen."""
    names = {one.name for one in load_all(root)}
    passed = known_passed(root)
    lines = [killers_row(name, test, [one for one in passed.get(name, ()) if one != test])
             for name, test in sorted(known_killers(root).items()) if name in names]
    (root / "grade" / "mutants" / KILLERS).write_text(KILLERS_HEAD + "".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["list", "check", "killers", "apply", "tree"])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args()
    root = args.root.resolve()
    try:
        if args.command in ("apply", "tree"):
            if len(args.words) != 2:
                parser.error(f"{args.command} takes a mutant's name and a directory")
            mutant = find(args.words[0], root)
            if args.command == "tree":
                scratch(Path(args.words[1]), root)
            apply(mutant, args.words[1])
            return 0
        if args.command == "killers":
            keep_killers(root)
            return 0
        number = number_of(args.words[0]) if args.words else None
        if args.command == "list":
            for one in load_all(root, number):
                print(one.name)
            return 0
        trouble = check_all(root, number)
        for line in trouble:
            print(line, file=sys.stderr)
        return 1 if trouble else 0
    except (MutantError, OSError, ValueError) as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
