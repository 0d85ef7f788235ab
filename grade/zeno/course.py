"""The course's data: what a lab holds, what it is worth, and which checks show it.

One file per lab, grade/labs/N.toml. Its upper part belongs to the build (lab, title, dir, needs,
files, ...); the lists `exercises` and `tests` belong to the grader:

    [[exercises]]
    id = "1.1"
    title = "Enter ring 1"
    hours = 2.0
    difficulty = "moderate"          # easy, moderate, hard
    property = "resource control"    # equivalence, resource control, efficiency; tools in Lab 0

    [[tests]]
    name = "ring1"                   # unique in the lab; `--only ring1`
    exercise = "1.1"                 # "" for the test that only builds and boots
    title = "the guest runs at CPL 1"
    points = 4
    evidence = "witnessed"           # witnessed, equivalent, reported
    machines = ["qemu"]              # the first that is here is used
    base = []                        # tests that must pass first
    hostile = false                  # true: what it feeds in is hostile
    check = "lab1.ring1"             # grade/checks/lab1.py, function ring1
    handout = "ex-1-1"               # anchor in the exercise's handout; its own if left out

Loading is strict, so that a mistake in the data can't quietly give or take points.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

GRADE = Path(__file__).resolve().parent.parent
ROOT = GRADE.parent
EVIDENCE = ("witnessed", "equivalent", "reported")
DIFFICULTY = ("easy", "moderate", "hard")
PROPERTIES = ("equivalence", "resource control", "efficiency", "tools")


class CourseError(Exception):
    """The lab's data file is wrong: harness trouble, with the place in the text."""


@dataclass
class Exercise:
    """One exercise; `tests` in the order of the file."""

    id: str
    title: str
    hours: float
    difficulty: str
    property: str
    tests: list = field(default_factory=list)

    @property
    def points(self):
        """What its tests are worth together."""
        return sum(test.points for test in self.tests)


@dataclass
class Test:
    """One test and what it rests on."""

    name: str
    exercise: str
    title: str
    points: int
    evidence: str
    machines: tuple
    base: tuple
    check: str
    handout: str
    hostile: bool


@dataclass
class Lab:
    """One lab as grade/labs/N.toml describes it. `data` is the whole file."""

    number: int
    title: str
    data: dict
    exercises: list
    tests: list
    root: Path = ROOT

    @property
    def points(self):
        """The lab's full score."""
        return sum(test.points for test in self.tests)

    @property
    def directory(self):
        """The lab's folder name below labs/ and solutions/."""
        return Path(self.data["dir"]).name

    @property
    def files(self):
        """The manifest: names in the lab's folder that a student hands in.

        A lab whose data file names none is all that its folder holds.
        """
        if self.data.get("files"):
            return list(self.data["files"])
        return sorted(path.name for path in (self.root / "labs" / self.directory).glob("*")
                      if path.is_file() and not path.name.startswith("."))

    @property
    def handout(self):
        """The handout's path from the root of the tree."""
        return self.data.get("handout", f"handouts/lab{self.number}.md")

    def page(self, exercise):
        """The handout that tells about an exercise; the lab's for most, and for ""."""
        return self.data.get("handout_of", {}).get(exercise, self.handout)

    def test(self, name):
        """The test called `name`; LookupError says what there is."""
        for test in self.tests:
            if test.name == name:
                return test
        names = ", ".join(test.name for test in self.tests)
        raise LookupError(f"lab {self.number} has no test {name!r}; it has: {names}")

    def exercise(self, ident):
        """The exercise with this id, or None."""
        return next((one for one in self.exercises if one.id == ident), None)


def labs_present(root=ROOT):
    """The numbers of the labs that have a data file."""
    return sorted(int(path.stem) for path in (root / "grade" / "labs").glob("*.toml")
                  if path.stem.isdigit())


def _take(table, where, **kinds):
    """Checks a table's keys and kinds; gives it back with nothing unknown in it."""
    for key in table:
        if key not in kinds:
            raise CourseError(f"{where}: unknown key {key!r}")
    for key, (kind, default) in kinds.items():
        if key not in table:
            if default is ...:
                raise CourseError(f"{where}: {key!r} is missing")
            table[key] = default
        wrong_bool = isinstance(table[key], bool) and kind is not bool
        if wrong_bool or not isinstance(table[key], kind):
            raise CourseError(f"{where}: {key!r} is of the wrong kind")
    return table


def _exercises(data, where):
    found = []
    for table in data.get("exercises", []):
        spot = f"{where}: exercise {table.get('id', '?')}"
        # `points` may stand in the data for people; it must then be the sum of the tests'.
        claimed = table.pop("points", None)
        one = Exercise(**_take(table, spot, id=(str, ...), title=(str, ...),
                               hours=((int, float), ...), difficulty=(str, ...),
                               property=(str, ...)))
        if one.difficulty not in DIFFICULTY:
            raise CourseError(f"{spot}: difficulty is one of {', '.join(DIFFICULTY)}")
        if one.property not in PROPERTIES:
            raise CourseError(f"{spot}: property is one of {', '.join(PROPERTIES)}")
        if any(one.id == other.id for other, _ in found):
            raise CourseError(f"{spot}: there are two of it")
        found.append((one, claimed))
    return found


def _tests(data, exercises, where):
    tests = []
    for table in data.get("tests", []):
        spot = f"{where}: test {table.get('name', '?')}"
        ident = table.get("exercise", "")
        table.setdefault("handout", "ex-" + ident.replace(".", "-") if ident else "")
        one = Test(**_take(table, spot, name=(str, ...), exercise=(str, ...), title=(str, ...),
                           points=(int, ...), evidence=(str, ...), machines=(list, ["qemu"]),
                           base=(list, []), check=(str, ...), handout=(str, ""),
                           hostile=(bool, False)))
        if any(one.name == other.name for other in tests):
            raise CourseError(f"{spot}: there are two of it")
        if one.evidence not in EVIDENCE:
            raise CourseError(f"{spot}: evidence is one of {', '.join(EVIDENCE)}")
        if one.points < 0 or (one.points and not one.exercise):
            raise CourseError(f"{spot}: only a test of an exercise carries points, and not below 0")
        if not one.machines:
            raise CourseError(f"{spot}: no machine")
        for name in one.base:
            if all(name != other.name for other in tests):
                raise CourseError(f"{spot}: base {name!r} is no test above it")
        if one.exercise:
            if one.exercise not in exercises:
                raise CourseError(f"{spot}: there is no exercise {one.exercise}")
            exercises[one.exercise].tests.append(one)
        tests.append(one)
    return tests


def _balance(lab, claims, where):
    """The rules of evidence: no exercise and no lab may rest on what the kernel says of itself."""
    for one, claimed in claims:
        if not any(test.points and test.evidence != "reported" for test in one.tests):
            raise CourseError(f"{where}: exercise {one.id} has no witnessed or equivalent test "
                              "that carries points")
        if claimed is not None and claimed != one.points:
            raise CourseError(f"{where}: exercise {one.id} says {claimed} points, "
                              f"its tests have {one.points}")
    reported = sum(test.points for test in lab.tests if test.evidence == "reported")
    if reported * 10 > lab.points:
        raise CourseError(f"{where}: reported tests carry {reported} of {lab.points} points; "
                          "a tenth is the most")
    if not lab.tests or lab.tests[0].points or lab.tests[0].exercise:
        raise CourseError(f"{where}: the first test must be the one that only builds and boots, "
                          "without points")


def parse(text, where="lab", root=ROOT):
    """A Lab from the text of a data file."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{where}: {error}") from None
    if not isinstance(data.get("lab"), int) or not isinstance(data.get("title"), str):
        raise CourseError(f"{where}: `lab` (a number) and `title` must be there")
    claims = _exercises(data, where)
    by_id = {one.id: one for one, _ in claims}
    tests = _tests(data, by_id, where)
    lab = Lab(data["lab"], data["title"], data, list(by_id.values()), tests, Path(root))
    _balance(lab, claims, where)
    return lab


def load(number, root=ROOT):
    """The lab with this number."""
    path = root / "grade" / "labs" / f"{number}.toml"
    if not path.is_file():
        there = ", ".join(map(str, labs_present(root)))
        raise CourseError(f"there is no lab {number}; there are: {there}")
    return parse(path.read_text(), f"grade/labs/{path.name}", root)
