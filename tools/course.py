"""The labs as data: the upper part of grade/labs/N.toml, for the build, the tools and the grader.

What a data file says of exercises and tests is the grader's: grade/zeno/judging/course.py reads that.
"""

import functools
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

NUMBER = r"\d{1,3}s?"
"""What a lab is called: 4s is another flavour of Lab 4."""
EXERCISE = rf"({NUMBER})\.(\d{{1,3}})"
"""What an exercise is called: 1.3, or 4s.3, which is 4.3 of that flavour. Two groups."""
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
"""Names of files that the build will look at; anything else in labs/ is left alone."""

SOURCE_SUFFIXES = (".c", ".asm")


class CourseError(Exception):
    """A lab or a setting that can't be; the text is one line for a person."""


@dataclass(frozen=True)
class Half:
    """One assignment of a lab that has two: [halves.A] of its data file."""

    title: str
    handout: str
    needs: tuple
    """What of this lab must be done before: "1A", or single exercises."""
    files: tuple
    reads: tuple
    """What its handout says to read first."""


@dataclass(frozen=True)
class Flavour:
    """[flavours.4s] of a data file: on what the lab runs where Lab 4s is the one of "4 or 4s" that is done."""

    lab: int | str
    cpu: str
    machine: str


@dataclass(frozen=True)
class Lab:
    """The keys of grade/labs/N.toml that say what a lab is made of; `half` is what was asked for of it."""

    number: int | str
    title: str
    version: int
    dir: str
    needs: tuple
    sources: tuple
    files: tuple
    """Every file of the lab: its own list, or what its halves list."""
    handout: str
    halves: dict
    half_of: dict
    """{exercise: half}; empty for a lab of one piece."""
    root: Path = field(repr=False)
    half: str = ""
    cpu: str = "te"
    """The CPU model of grade/machines.toml that it runs on where nobody names one."""
    guests: tuple = ()
    """The guests that its files are parts of, and not of the kernel: dom0, pv-disk."""
    flavours: tuple = ()
    """Those of which the lab that it needs is here: the first one decides where, and on what, its tests run."""

    @property
    def name(self):
        """What a person calls it: 1, or 1A."""
        return f"{self.number}{self.half}"

    def page(self, exercise):
        """The handout that tells about an exercise."""
        half = self.half_of.get(exercise, self.half)
        return self.halves[half].handout if half in self.halves else self.handout

    @property
    def handed_in(self):
        """The files that make up the assignment."""
        return self.halves[self.half].files if self.half else self.files

    def owns(self, exercise):
        """True if the exercise belongs to the assignment."""
        return not self.half or self.half_of.get(exercise) == self.half

    def needed_here(self):
        """Exercises of the lab's other half that this half rests on."""
        found = set()
        for word in self.halves[self.half].needs if self.half else ():
            found |= {word} if "." in word else {e for e, half in self.half_of.items() if f"{self.number}{half}" == word}
        return found

    def needed_labs(self):
        """The numbers of the labs that its `needs` name, whole or in part."""
        named = {lab_named(word) for need in self.needs for word in either(need)}
        return sorted(named & set(lab_numbers(self.root)), key=in_order)

    def cpu_on(self, machine):
        """The CPU model that it runs on there: of two flavours that which belongs there."""
        there = [one.cpu for one in self.flavours if one.machine == machine]
        return (*there, *(one.cpu for one in self.flavours), self.cpu)[0]

    @property
    def labs(self):
        """Where the student works."""
        return self.root / "labs" / self.dir

    @property
    def solutions(self):
        """Where the reference is, if it is here."""
        return self.root / "solutions" / self.dir

    def names(self):
        """The files of the lab: the manifest's, or all that the reference has if it has none yet."""
        if self.files:
            return list(self.files)
        place = self.solutions if self.solutions.is_dir() else self.labs
        return sorted(p.name for p in place.glob("*") if p.is_file() and SAFE_NAME.match(p.name))

    def source_names(self):
        """Those of names() that are compiled."""
        return [name for name in self.names() if name.endswith(SOURCE_SUFFIXES)]


def either(need):
    """The words of a need, of which a student has done one: "4 or 4s"."""
    return need.split(" or ")


def here(need, root):
    """Those words of a need whose lab this tree has: a course may hand out one of two. All of them, where it has none."""
    numbers = set(lab_numbers(root))
    return [word for word in either(need) if lab_named(word) in numbers] or either(need)


def lab_named(word):
    """The number of the lab that a word of a need begins with; None if it begins with none, which _need() refuses."""
    found = re.match(NUMBER, word)
    return number_of(found[0]) if found else None


def lab_numbers(root=ROOT):
    """The numbers of all labs of this tree, in order."""
    place = Path(root) / "grade" / "labs"
    found = [name[:-5] for name in os.listdir(place) if name.endswith(".toml")] if place.is_dir() else []
    return sorted((number_of(stem) for stem in found if re.fullmatch(NUMBER, stem)), key=in_order)


def number_of(text):
    """A lab's number; 4s, another flavour of Lab 4, is a word."""
    return int(text) if text.isdigit() else text


def in_order(number):
    """A key to sort numbers of labs by: 4, 4s, 5."""
    return int(str(number).rstrip("s")), str(number)


def _halves(table, where):
    """{letter: Half} and {exercise: letter} of a data file."""
    halves = {}
    for letter, one in table.get("halves", {}).items():
        if not re.fullmatch("[A-Z]", letter) or not isinstance(one, dict):
            raise CourseError(f"{where}: a half is a table such as [halves.A]")
        for key, kind in (("title", str), ("handout", str), ("files", list)):
            if not isinstance(one.get(key), kind):
                raise CourseError(f"{where}: halves.{letter}: `{key}` is missing or no {kind.__name__}")
        halves[letter] = Half(one["title"], one["handout"], tuple(one.get("needs", [])), tuple(one["files"]),
                              tuple(one.get("reads", [])))
    half_of = {}
    for one in table.get("exercises", []):
        if one.get("half", "") not in (halves or {"": None}):
            raise CourseError(f"{where}: exercise {one.get('id')}: `half` is one of {' '.join(halves) or 'none'}")
        if halves:
            half_of[one.get("id")] = one["half"]
    return halves, half_of


def load_lab(number, root=ROOT, half=""):
    """The Lab with this number; CourseError if its file is not as it should be."""
    path = Path(root) / "grade" / "labs" / f"{number}.toml"
    try:
        text = path.read_text()
    except OSError as error:
        raise CourseError(f"{path.relative_to(root)}: {error}") from None
    where = f"grade/labs/{path.name}"
    lab = lab_of(dict(_upper_part(text, where)), root, half, where)
    if str(lab.number) != path.stem:
        raise CourseError(f"{where}: `lab` is {lab.number!r}")
    return lab


def _flavours(table, root, where):
    """The Flavours of a data file whose lab is here."""
    import flavour  # pylint: disable=import-outside-toplevel,cyclic-import
    found = {}
    for name, one in table.get("flavours", {}).items():
        if not isinstance(one, dict) or set(one) != {"cpu", "machine"}:
            raise CourseError(f"{where}: flavours.{name} has `cpu` and `machine`")
        found[number_of(name)] = Flavour(number_of(name), **one)
    there = set(lab_numbers(root)) & set(found)
    found = {number: found[number] for number in found if number in there or not there}
    if len(found) < 2:
        return tuple(found.values())
    here = flavour.fewest({number: flavour.left_to_do(load_lab(number, root)) for number in found})
    return tuple(found[number] for number in here)


def without_tests(text):
    """A data file with its tests' and rewards' lines empty: they are most of it, and only the grader's."""
    lines, kept = [], True
    for line in text.splitlines():
        if line.startswith("["):
            kept = not line.startswith(("[[tests]]", "[tests", "[[rewards]]"))
        lines.append(line if kept else "")
    return "\n".join(lines) + "\n"


@functools.lru_cache(maxsize=None)
def _upper_part(text, where):
    """The table of all but the tests. Each build reads some of these texts many times."""
    return parse_table(without_tests(text), where)


def parse_table(text, where):
    """A data file's table."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{where}: {error}") from None


def lab_of(table, root, half, where):
    """The Lab, or half of it, that a data file's table describes."""
    halves, half_of = _halves(table, where)
    if halves:
        table["files"] = list(dict.fromkeys(name for one in halves.values() for name in one.files))
    for key, kind in (("lab", (int, str)), ("title", str), ("version", int), ("dir", str),
                      ("needs", list), ("sources", list), ("files", list), ("handout", str)):
        if not isinstance(table.get(key), kind):
            names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
            raise CourseError(f"{where}: `{key}` is missing or no {names}")
    for name in [table["dir"], *table["files"]]:
        if not SAFE_NAME.match(str(name)):
            raise CourseError(f"{where}: {name!r} is no name for a file")
    return Lab(table["lab"], table["title"], table["version"], table["dir"], tuple(map(str, table["needs"])),
               tuple(table["sources"]), tuple(table["files"]), table["handout"], halves, half_of, Path(root),
               half, table.get("cpu", "te"), tuple(table.get("guests", [])), _flavours(table, root, where))


def there_are(root=ROOT):
    """What can be named as LAB=, in words."""
    words, split = [], ""
    for number in lab_numbers(root):
        halves = load_lab(number, root).halves
        words += [f"{number}{letter}" for letter in halves] or [str(number)]
        if halves and not split:
            split = f" ({number} is {' and '.join(f'{number}{letter}' for letter in halves)}, all is every lab)"
    return f"there are: {' '.join(words)}{split}"


def parse_lab(text, root=ROOT):
    """The Lab that a person named on the command line: 1, or a half of it as 1A."""
    numbers = lab_numbers(root)
    if not numbers:
        raise CourseError("grade/labs has no labs")
    if not text:
        raise CourseError(f"say which lab: LAB=n, once for all with `make lab LAB=n`; {there_are(root)}")
    found = re.fullmatch(rf"({NUMBER})([A-Z]?)", text)
    if not found:
        raise CourseError(f"LAB={text}: a lab is a number, with a letter for one half; {there_are(root)}")
    number = number_of(found[1])
    if number not in numbers or str(number) != found[1] or found[2] and found[2] not in load_lab(number, root).halves:
        raise CourseError(f"LAB={text}: there is no such lab; {there_are(root)}")
    return load_lab(number, root, found[2])


def parse_labs(text, root=ROOT):
    """The Labs that are to be built: `all` is every one."""
    if text == "all":
        return [load_lab(number, root) for number in lab_numbers(root)]
    return [parse_lab(text, root)]


@dataclass
class Part:
    """What a build takes of one lab."""

    lab: Lab
    target: bool = False
    files: set = field(default_factory=set)
    needed: set = field(default_factory=set)
    """Exercises that others rest on: they must be done."""
    inside: set = field(default_factory=set)
    """Single exercises whose files are wanted, though not their lab."""
    instead: set = field(default_factory=set)
    """The labs of which one will do in its place."""


def _need(word, asking):
    """A need as (lab, half, exercise): "1", "1A" or "1.8"."""
    found = re.fullmatch(rf"({NUMBER})(?:([A-Z])|(\.\d{{1,3}}))?", word)
    where = f"grade/labs/{asking.number}.toml: needs {word!r}"
    if not found or number_of(found[1]) not in lab_numbers(asking.root):
        raise CourseError(f"{where}, which is no lab, half or exercise")
    lab = load_lab(number_of(found[1]), asking.root)
    if found[2] and found[2] not in lab.halves:
        raise CourseError(f"{where}, and lab {lab.number} has no such half")
    return lab, found[2] or "", word if found[3] else ""


def exercises_of(lab, half=""):
    """The ids of a lab's exercises, or of one half's; None stands for all of a lab that doesn't say."""
    return {one for one, letter in lab.half_of.items() if not half or letter == half} or None


def closure(*targets):
    """What a build is made of: the parts that `targets` need, in order, and themselves."""
    parts = {}

    def take(lab, half, exercise, path):
        part = parts.setdefault(lab.number, Part(lab))
        if exercise:
            part.inside.add(exercise)
            part.needed.add(exercise)
            return
        if lab.number in path:
            raise CourseError(f"grade/labs/{lab.number}.toml: lab {lab.number} needs itself")
        for need in sorted(lab.needs):
            take_all(need, lab, path + (lab.number,))
        for word in lab.halves[half].needs if half else ():
            take(*_need(word, lab), path)
        part.files |= set(lab.halves[half].files if half else lab.names())
        part.needed |= exercises_of(lab, half) or {"all"}

    def take_all(need, lab, path):
        words = [_need(word, lab) for word in here(need, lab.root)]
        for word in words:
            take(*word, path)
            parts[word[0].number].instead |= {other.number for other, _, _ in words} - {word[0].number}

    for lab in targets:
        for need in sorted(lab.needs):
            take_all(need, lab, (lab.number,))
    for lab in targets:
        part = parts.setdefault(lab.number, Part(lab))
        part.lab, part.target, part.needed = lab, True, set()
        part.files |= set(lab.names())
        for word in lab.halves[lab.half].needs if lab.half else ():
            needed, half, exercise = _need(word, lab)
            if needed.number != lab.number:
                raise CourseError(f"grade/labs/{lab.number}.toml: halves.{lab.half} needs {word}: what another lab "
                                  "has stands in the lab's own `needs`")
            part.needed |= {exercise} if exercise else exercises_of(lab, half) or set()
    return [parts[number] for number in sorted(parts, key=in_order)]
