#!/usr/bin/env python3
"""The leak lint: an exercise's contract says what holds, and not how to write it.

`contract.py` looks at every exercise of solutions/ whose comment has the form with labelled lines:

- of the identifiers and constants that the solution uses, at most half stand in the contract, the comments around
  the region, the handout's section and the tests' titles together; the Tools line does not count;
- the four lines have some sixty words, without a list of steps, nor has the handout's section one;
- Tools names things in alphabetical order, one of which the solution does not need;
- the handout's section asks for a prediction before the run;
- each such region has three hints.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path, PurePath

import region
import trouble
from course import ROOT, CourseError, lab_numbers, load_lab

WORDS = range(30, 81)
LABELLED_FROM = 4  # Labs 0 to 3 are older than the form
ANSWERS = ("4.8", "4s.8")  # what is handed in there is a table of answers, and no code
STEP = re.compile(r"^\s*(?:[*;#]\s*)?\(?\d+[.)]\s", re.M)
NAME = re.compile(r"\b[A-Za-z_]\w+\b|\b0x[0-9a-fA-F]+\b|\b\d+\b")
KEYWORDS = set("""break case char const continue default do else enum extern for goto if inline int long return short
    signed sizeof static struct switch union unsigned void volatile while bool true false NULL 0 1
    uint8_t uint16_t uint32_t uint64_t int32_t int64_t uintptr_t size_t
    dword qword word byte section global extern align equ""".split())


def without_comments(lines, name):
    """Code alone: no comments, no text inside of quotes."""
    text = "\n".join(lines)
    if PurePath(name).suffix in (".asm", ".inc"):
        return re.sub(r";.*", "", text)
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)
    return re.sub(r'"(?:\\.|[^"\\\n])*"', " ", text)


def names_in(text):
    """Identifiers and constants: what an exercise is made of."""
    return {word for word in NAME.findall(text) if word not in KEYWORDS}


def comments_in(lines, name):
    """The comments of some lines."""
    text = "\n".join(lines)
    if PurePath(name).suffix in (".asm", ".inc"):
        return "\n".join(re.findall(r";(.*)", text))
    return "\n".join(re.findall(r"/\*.*?\*/", text, re.S))


def section(page, exercise):
    """The lines of a handout's section on an exercise, without transcripts and tables."""
    lines, inside, fenced = [], False, False
    for line in page.splitlines():
        if re.match(r"#+ ", line) and not fenced:
            inside = f"{{#ex-{exercise.replace('.', '-')}}}" in line
        elif line.startswith("```"):
            fenced = not fenced
        elif inside and not fenced and not line.startswith("|"):
            lines.append(line)
    return "\n".join(lines)


class Exercise:
    """All of one exercise: its regions, and what students read of it."""

    def __init__(self, lab, ident):
        self.lab, self.ident = lab, ident
        self.must = int(re.match(r"\d+", ident)[0]) >= LABELLED_FROM and ident not in ANSWERS
        self.regions, self.code, self.around = [], "", ""

    def add(self, name, text, regions):
        """Take in a file that holds regions of it."""
        mine = [one for one in regions if one.exercise == self.ident]
        self.regions += mine
        self.code += "".join(without_comments(one.body, name) + "\n" for one in mine)
        lines = region.split(text)
        for one in reversed(regions):
            lines[one.start:one.end + 1] = []
        self.around += comments_in(lines, name)

    def told(self):
        """What students can read of it, the Tools lines apart."""
        root = self.lab.root
        path = root / self.lab.page(self.ident)
        page = section(path.read_text(), self.ident) if path.is_file() else ""
        data = tomllib.loads((root / "grade" / "labs" / f"{self.lab.number}.toml").read_text())
        titles = [one["title"] for one in data.get("tests", []) if one.get("exercise") == self.ident]
        contracts = [text for one in self.regions for label, text in one.contract.items() if label != "Tools"]
        return page, "\n".join([*contracts, self.around, page, *titles])

    def faults(self):
        """What is wrong with it, a line each."""
        page, told = self.told()
        used = names_in(self.code)
        shown = used & names_in(told)
        if len(shown) * 2 > len(used):
            yield (f"{len(shown)} of the {len(used)} names and constants of its solution are told before: "
                   + " ".join(sorted(shown)))
        if STEP.search(page):
            yield "its handout section has an ordered list"
        if "*Predict" not in page:
            yield "its handout section asks for no prediction: a paragraph that begins with *Predict*"
        for one in self.regions:
            yield from self.region_faults(one) if one.contract else self.unlabelled(one)

    def unlabelled(self, one):
        """Of a region without a contract."""
        if self.must and not one.free:
            yield f"EXERCISE {one.id}: its comment has no labelled lines"

    def region_faults(self, one):
        """What is wrong with one contract."""
        words = sum(len(text.split()) for text in one.contract.values())
        if words not in WORDS:
            yield f"EXERCISE {one.id}: its contract has {words} words; about 60 are wanted"
        if len(one.hints) != region.HINTS_MAX:
            yield f"EXERCISE {one.id}: it has not {region.HINTS_MAX} hints"
        if any(STEP.search(text) for text in one.comment):
            yield f"EXERCISE {one.id}: its contract is a list of steps"
        tools = re.sub(r"\bof [\w./]+", "", one.contract["Tools"])
        tools = re.findall(r"[A-Za-z_]\w+", tools)
        if tools != sorted(tools, key=str.lower):
            yield f"EXERCISE {one.id}: its Tools are not in alphabetical order"
        if not set(tools) - names_in(self.code):
            yield f"EXERCISE {one.id}: all of its Tools are needed"


def exercises(root, numbers=None):
    """Every exercise that has a contract of the labelled form, or should have one."""
    found = {}
    for number in lab_numbers(root) if numbers is None else numbers:
        lab = load_lab(number, root)
        for name in lab.names() if lab.solutions.is_dir() else ():
            text = (lab.solutions / name).read_text()
            regions = region.parse(text, f"solutions/{lab.dir}/{name}")
            for ident in dict.fromkeys(one.exercise for one in regions if not one.free):
                found.setdefault(ident, Exercise(lab, ident)).add(name, text, regions)
    return [one for one in found.values() if one.must or any(r.contract for r in one.regions)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args()
    try:
        all_of_them = exercises(args.root.resolve())
        found = [f"exercise {one.ident}: {fault}" for one in all_of_them for fault in one.faults()]
    except (CourseError, region.RegionError, OSError) as error:
        found = [str(error)]
    for line in found:
        print(f"contract: {line}", file=sys.stderr)
    if not found:
        print(f"{len(all_of_them)} exercises with labelled contracts, none of which tells its solution")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
