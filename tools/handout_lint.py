#!/usr/bin/env python3
"""Find what is wrong with the form of the handouts: `handout_lint.py [ROOT]`.

Every lab's handout has the same sections in the same order; each exercise of the lab's data file has its
section, with what to write, the manual, what to use, and the failure that comes next; each idea that looks right
names a test that exists. Places that the code prints exist. Links lead somewhere, figures have words for
those who can't see them, and whoever cites a manual says which edition.
"""

import re
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import trouble

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = 120
ALT = 40
"""Letters of a figure's words: less can't say what is in it."""
TEMPLATE = ["end", "hours", "before", "background", "exercises", "gdb", "symptoms", "questions", "grader"]
PARTS = ["*You write*", "*Manual*", "*Use*", "*Expected failure of"]
EDITIONS = {"SDM": "325462-080", "APM": "24593"}
CODE = ["vmm", "kern", "trials", "solutions", "labs", "grade", "guest", "user", "inc", "boot", "tools", "Makefile", "README.md",
        "CONTRIBUTING.md", "TRICKS.md"]
HEADING = re.compile(r"(#+) (.*?)(?: \{#([\w-]+)\})?$")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]*)\)")
NAMED = re.compile(r"handouts/([\w.-]+\.md)(?:#([\w-]+))?")
PRINTED = re.compile(r'"([\w-]+\.md)#([\w-]+)"')
MACRO = re.compile(r'(LAB_\w+) "#([\w-]+)"')
ENDED = re.compile(r"\[exit (\d+): .*? at (?:0008:)?([0-9a-f]{8})\b")
LISTED = re.compile(r" +exit (\d+): \S+ at ([0-9a-f]{8})\b")
DEFINED = re.compile(r'#define\s+(LAB_\w+)\s+"([\w.-]+\.md)"')


NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight"]


def plain(text):
    """Words with one space between them."""
    return " ".join(text.split())


class Handout:
    """One page: its text, its places, and its lines outside of blocks."""

    def __init__(self, path):
        self.path, self.name = path, path.name
        self.lines = path.read_text().split("\n")
        self.prose = []
        """(number, line) outside of fenced blocks."""
        self.blocks = []
        """(number of the fence, line before it, lines)"""
        start = None
        for number, line in enumerate(self.lines, 1):
            if line.startswith("```"):
                if start is None:
                    start = number
                else:
                    self.blocks.append((start, self.lines[start - 2], self.lines[start:number - 1]))
                    start = None
            elif start is None:
                self.prose.append((number, line))
        self.open_fence = start
        self.headings = [(n, m) for n, line in self.prose if (m := HEADING.match(line))]
        self.places = [m[3] for _, m in self.headings if m[3]]

    def text(self):
        """The prose as one string."""
        return "\n".join(line for _, line in self.prose)

    def section(self, place):
        """The prose lines of a section, up to the next heading of its level or above."""
        found, depth = [], None
        for _, line in self.prose:
            heading = HEADING.match(line)
            if heading and depth and len(heading[1]) <= depth:
                break
            if heading and heading[3] == place:
                depth = len(heading[1])
            if depth:
                found.append(line)
        return found


class Lint:
    """All handouts of a tree, and what is wrong with them."""

    def __init__(self, root):
        self.root = Path(root)
        self.trouble = []
        self.pages = {p.name: Handout(p) for p in sorted((self.root / "handouts").glob("*.md"))}

    def wrong(self, where, line, what):
        """Note one mistake."""
        self.trouble.append(f"{where}:{line}: {what}" if line else f"{where}: {what}")

    def run(self):
        """All checks; the list of mistakes."""
        for page in self.pages.values():
            self.form(page)
            self.links(page)
            self.figures(page)
        for path in sorted((self.root / "grade/labs").glob("*.toml")):
            data = tomllib.loads(path.read_text())
            if data.get("exercises"):  # else its lab is not cut yet
                self.lab(data)
        self.code()
        return self.trouble

    def form(self, page):
        """Columns, fences, editions, places that stand twice."""
        if page.open_fence:
            self.wrong(page.name, page.open_fence, "this fenced block has no end")
        for number, line in page.prose:
            if len(line) > COLUMNS and not line.startswith("|"):
                self.wrong(page.name, number, f"{len(line)} columns; {COLUMNS} is the limit")
            if line != line.rstrip():
                self.wrong(page.name, number, "white space at the end of the line")
        for number, before, lines in page.blocks:
            if lines and lines[0].startswith("$ ") and not before.startswith("<!-- transcript:"):
                self.wrong(page.name, number, "a transcript that nobody types: the line before it must be "
                           "`<!-- transcript: ... -->`")
            self.exits(page, number, lines)
        for place in {p for p in page.places if page.places.count(p) > 1}:
            self.wrong(page.name, 0, f"#{place} stands twice")
        for manual, edition in EDITIONS.items():
            if re.search(rf"\b{manual} \d", page.text()) and edition not in page.text():
                self.wrong(page.name, 0, f"cites the {manual} and does not say which edition ({edition})")

    def exits(self, page, number, lines):
        """In a transcript of a guest of base 0 its last line and its list of exits name one address for one exit."""
        said = {}
        for at, line in enumerate(lines, number + 1):
            if line.startswith("K> "):
                said = {}
            for exit_, address in ENDED.findall(line):
                said[exit_] = address
            listed = LISTED.match(line)
            if listed and said.get(listed[1], listed[2]) != listed[2]:
                self.wrong(page.name, at, f"exit {listed[1]} is at {listed[2]} here, and at {said[listed[1]]} above")

    def exists(self, name, place):
        """Is there such a page, with such a place?"""
        return name in self.pages and (not place or place in self.pages[name].places)

    def links(self, page):
        """Every link leads somewhere."""
        for match in LINK.finditer(page.text()):
            target = match[3]
            if re.match(r"[a-z]+:", target):
                continue
            name, _, place = target.partition("#")
            good = (self.exists(name or page.name, place) if not name or name.endswith(".md")
                    else (page.path.parent / name).is_file())
            if not good:
                self.wrong(page.name, 0, f"the link to {target} leads nowhere")

    def figures(self, page):
        """Figures are ours, are drawings, and have words."""
        for match in LINK.finditer(page.text()):
            path = page.path.parent / match[3]
            if not match[1] or not path.is_file():
                continue
            if len(match[2]) < ALT:
                self.wrong(page.name, 0, f"the figure {match[3]} has no words for those who can't see it")
            if path.suffix == ".svg":
                try:
                    top = ElementTree.parse(path).getroot()
                except ElementTree.ParseError as error:
                    self.wrong(match[3], 0, f"no XML: {error}")
                    continue
                if top.find("{http://www.w3.org/2000/svg}title") is None:
                    self.wrong(match[3], 0, "an SVG has a <title>")

    def lab(self, data):
        """A lab's handout against the template and the lab's data."""
        for half, page in (data.get("halves") or {"": data}).items():
            told = [one for one in data["exercises"] if one.get("half", "") == half]
            if told:  # else the half is not cut yet
                self.lab_page(data, Path(page["handout"]).name, told, f"{data['lab']}{half}")

    def lab_page(self, data, name, told, lab):
        """The handout of a lab or of a half, which tells about these exercises."""
        page = self.pages.get(name)
        if page is None:
            self.wrong(name, 0, f"lab {lab} has no handout")
            return
        sections = [m[3] for _, m in page.headings if len(m[1]) == 2]
        if sections != TEMPLATE:
            self.wrong(name, 0, f"the sections are {sections}, and must be {TEMPLATE}")
        text, beside = page.path.read_text(), f"{page.path.stem}-symptoms.md"
        for kind in ("exercises", "symptoms", "tests"):
            made = f"made: {kind} {lab}"
            if f"<!-- {made} -->" not in text and not (kind == "symptoms" and self.symptoms_beside(text, beside, made, name)):
                self.wrong(name, 0, f"the table `{made}` is missing")
        if not any(match[1] for match in LINK.finditer("\n".join(page.section("background")))):
            self.wrong(name, 0, "the background has no figure")
        for one in told:
            self.exercise(page, one)
        self.answers(data, page, lab)
        self.own_whole(page)
        self.misconceptions(page, {test["name"] for test in data["tests"]})

    def answers(self, data, page, lab):
        """Questions of which the page says that they are in answers.txt stand there, with their numbers and words, and no others."""
        path = self.root / "labs" / data["dir"] / "answers.txt"
        section = "\n".join(page.section("questions"))
        asked = {n: plain(words) for n, words in re.findall(r"^(\d+)\. (.*(?:\n +\S.*)*)", section, re.M)}
        if "`answers.txt`" not in section:
            asked = {}
        elif first := re.search(r"The first (\w+) are in `answers", section):
            asked = dict(list(asked.items())[:NUMBERS.index(first[1])])
        found, half = {}, str(data["lab"])
        for block in re.split(r"\n(?!#)", "\n" + path.read_text()) if path.is_file() else ():
            words = plain(re.sub(r"(?m)^#", " ", block))
            half = header[1] if (header := re.match(r"Lab (\w+)", words)) else half
            if half == lab and (one := re.match(r"(?:Lab \w+, )?(\d+)\. (.*)", words)):
                found[one[1]] = one[2]
        for n in dict.fromkeys((*asked, *found)):
            if asked.get(n) != found.get(n):
                self.wrong(page.name, 0, f"question {n} is another one in {path.relative_to(self.root)}: {found.get(n, 'none')}")

    def own_whole(self, page):
        """A sentence about the own whole's points has the numbers of the tables."""
        text = page.path.read_text()
        said = re.search(r"own whole has (\d+) points more.*?the grader counts (\d+)", text, re.S)
        more, rest = re.search(r"^\| `own-whole` \| all \| (\d+)", text, re.M), re.search(r"^\| all \|.*\| (\d+) \|  \|$", text, re.M)
        if said and not (more and rest and said.groups() == (more[1], str(int(more[1]) + int(rest[1])))):
            self.wrong(page.name, 0, f"\"{' '.join(said[0].split())}\": the tables have other numbers")

    def symptoms_beside(self, text, beside, made, name):
        """The handout leads to a page of its own that has the table of symptoms."""
        return (f"({beside})" in text and beside in self.pages
                and f"<!-- {made} {name} -->" in self.pages[beside].path.read_text())

    def exercise(self, page, one):
        """An exercise's section."""
        place = "ex-" + one["id"].replace(".", "-")
        lines = page.section(place)
        if not lines:
            self.wrong(page.name, 0, f"exercise {one['id']} has no section #{place}")
            return
        text = "\n".join(lines)
        last = one["id"].endswith(".2") and "answers.txt" in text
        for part in PARTS[:1] if last else PARTS:
            if part not in text:
                self.wrong(page.name, 0, f"exercise {one['id']}: {part} is missing")
        if "*Manual*" not in text:
            self.wrong(page.name, 0, f"exercise {one['id']}: *Manual* is missing")

    def misconceptions(self, page, tests):
        """Every idea that looks right has a test that finds it."""
        rows = [line for line in page.section("misconceptions") if line.startswith("|")][2:]
        if not rows:
            self.wrong(page.name, 0, "there is no table #misconceptions")
        for line in rows:
            named = re.findall(r"`([\w-]+)`", line.rstrip("| ").rsplit("|", 1)[1])
            if not named or set(named) - tests:
                self.wrong(page.name, 0, f"no test of the lab finds this idea: {line}")

    def code(self):
        """Places that programs print, or that other documents name."""
        macros, used = {}, []
        for path in self.sources():
            text = path.read_text(errors="replace")
            where = path.relative_to(self.root)
            macros.update(DEFINED.findall(text))
            used += [(where, m[1], m[2]) for m in MACRO.finditer(text)]
            for match in [*NAMED.finditer(text), *PRINTED.finditer(text)]:
                if "{" not in match[0] and not self.exists(match[1], match[2]):
                    self.wrong(where, 0, f"names {match[0]}, and there is no such place")
        for where, macro, place in used:
            if not self.exists(macros.get(macro, ""), place):
                self.wrong(where, 0, f"names {macro} #{place}, and there is no such place")

    def sources(self):
        """Every file that may name a handout."""
        for name in CODE:
            path = self.root / name
            files = [path] if path.is_file() else sorted(path.rglob("*"))
            yield from (f for f in files if f.is_file() and "__pycache__" not in f.parts
                        and f.name != "handout_lint.py")


def main():
    trouble = Lint(sys.argv[1] if len(sys.argv) > 1 else ROOT).run()
    for line in trouble:
        print(line)
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(trouble.plain(main, 0, 1))
