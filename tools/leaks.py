#!/usr/bin/env python3
"""Find lines of the solutions in a tree that students get: `leaks.py TREE`.

A line *tells* if it stands inside of a region that is a hole, has twelve characters or more besides
white space, is no mere return of a name, and does not stand in what we hand out on purpose: the
scaffold of the labs and their `until then` lines. No telling line may occur anywhere in the tree. In
the sources of the kernel, the guests and the tests a single common line, such as one that prints an
empty line, is no leak; three in a row are.
"""

import re
import sys
from pathlib import Path

import region
import trouble
from course import ROOT, CourseError, lab_numbers, load_lab
from skeletons import given, is_given, parsed

ENOUGH = 12
TRIVIAL = re.compile(r"return -?\w+;")
ADDED = re.compile(r"\A[-+> |\t]*(?:(?:[\w./-]+\.(?:c|h|asm):)?\d+[:\t ]+)?[-+> |\t]*")
"""What a diff, a quotation, a listing or a debugger may set before a line: GDB shows `30<tab><tab>bool ...`."""
IN_A_ROW = 3
COMMON_CODE = ("kern", "vmm", "trials", "guest", "inc", "boot", "user", "tests")
CODE_SUFFIXES = (".c", ".h", ".asm", ".inc")


def words(line):
    """A line without what an editor or a diff may add to it."""
    return " ".join(line.split())


def tells(line):
    """True for a line that nobody writes by chance."""
    return len("".join(line.split())) >= ENOUGH and not TRIVIAL.fullmatch(line)


class Secrets:
    """What the solutions hold that a student must not see."""

    def __init__(self, root=ROOT):
        self.telling, self.runs = {}, {}
        handed_out, bodies, shown = given(root), [], set()
        for number in lab_numbers(root):
            lab = load_lab(number, root)
            if not lab.solutions.is_dir():
                continue
            for name in lab.names():
                path = lab.solutions / name
                text, regions = parsed(path, lab)
                holes = [one for one in regions if not is_given(one, handed_out)]
                shown |= {words(x) for x in region.split(region.scaffold(text, holes))}
                shown |= {words(x) for one in regions for x in one.until}
                bodies += [(f"{path.relative_to(root)} {one.id}", one.body) for one in holes]
        for where, body in bodies:
            lines = [words(x) for x in body if words(x)]
            for line in lines:
                if tells(line) and line not in shown:
                    self.telling[line] = where
            for i in range(len(lines) - IN_A_ROW + 1):
                run = tuple(lines[i:i + IN_A_ROW])
                if any(line in self.telling for line in run):
                    self.runs[run] = where

    def in_text(self, text, common=False):
        """[(line number, where it is from, line)] of the leaks in a text."""
        lines = [words(ADDED.sub("", x)) if not common else words(x) for x in text.splitlines()]
        if not common:
            raw = [words(x) for x in text.splitlines()]
            return [(i + 1, self.telling.get(a) or self.telling[b], b)
                    for i, (a, b) in enumerate(zip(lines, raw))
                    if a in self.telling or b in self.telling]
        kept = [(i + 1, line) for i, line in enumerate(lines) if line]
        found = []
        for i in range(len(kept) - IN_A_ROW + 1):
            run = tuple(line for _, line in kept[i:i + IN_A_ROW])
            if run in self.runs:
                found.append((kept[i][0], self.runs[run], run[0]))
        return found

    def in_tree(self, tree):
        """One line for each leak in the files of a tree."""
        found = []
        for path in sorted(Path(tree).rglob("*")):
            name = path.relative_to(tree)
            if path.is_symlink() or not path.is_file() or name.parts[0] in (".git", "build"):
                continue
            common = name.parts[0] in COMMON_CODE and path.suffix in CODE_SUFFIXES
            text = path.read_bytes().decode("utf-8", "replace")
            found += [f"{name}:{number}: stands in {where}: {line}"
                      for number, where, line in self.in_text(text, common)]
        return found


def main():
    try:
        secrets = Secrets()
    except (CourseError, region.RegionError) as error:
        print(f"leaks: {error}", file=sys.stderr)
        return 2
    if not secrets.telling:
        print("leaks: solutions/ is not here or holds no regions", file=sys.stderr)
        return 2
    found = secrets.in_tree(sys.argv[1])
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(trouble.plain(main, 1, 1))
