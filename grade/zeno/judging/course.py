"""The course's data: what a lab is worth, and which checks show it.

One file per lab, grade/labs/N.toml. Its upper part belongs to the build (lab, title, dir, needs,
files, ...), and tools/course.py reads it; the lists `exercises` and `tests` belong to the grader:

    [[exercises]]
    id = "1.1"
    half = "A"                       # the assignment that it belongs to, where the lab has halves
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
    other = false                    # true: it runs on the last flavour that is here; its check skips where there is one

    [[rewards]]                      # points on top of the lab's, of the own whole alone: see Lab.rewards
    name = "linux"
    half = "B"
    title = "Linux comes to its prompt"
    points = 5                       # at most 5
    evidence = "witnessed"           # or equivalent
    check = "lab5linux.prompt"       # skips where it can't be tried: nothing is lost then

Loading is strict, so that a mistake in the data can't quietly give or take points.
"""

import re
from dataclasses import dataclass, field, fields, replace

from .tools import ROOT, tool

labs = tool("course")
CourseError = labs.CourseError
EVIDENCE = ("witnessed", "equivalent", "reported")
DIFFICULTY = ("easy", "moderate", "hard")
PROPERTIES = ("equivalence", "resource control", "efficiency", "tools")


WHOLE = "own-whole"
"""The test that stands for all others on the student's own whole; the grader itself decides it."""
WHOLE_PERCENT = 15
REWARD = "reward"
"""What stands for the exercise of a reward, which rests on all of them."""
REWARD_MOST = 5
WHOLE_TITLE = "the tests once more, with all exercises yours at once"


@dataclass
class Exercise:
    """One exercise; `tests` in the order of the file."""

    id: str
    title: str
    hours: float
    difficulty: str
    property: str
    half: str = ""
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
    other: bool = False
    reward: bool = False


@dataclass(frozen=True)
class Lab(labs.Lab):
    """One lab, or one half of it, with what it is worth."""

    exercises: list = field(default_factory=list)
    tests: list = field(default_factory=list)
    """Its exercises' tests, and without points what those rest on in another half."""
    rewards: list = field(default_factory=list)
    """Tests of something that needs all exercises and tells nobody which is wrong, with few points that are no part of the score:
    of the student's own whole, where all else passes or by --only, and in QEMU, whatever the lab runs on."""

    @property
    def points(self):
        """The full score."""
        return sum(test.points for test in self.tests)

    def test(self, name):
        """The test called `name`; LookupError says what there is."""
        for test in (*self.tests, *self.rewards):
            if test.name == name:
                return test
        names = ", ".join(test.name for test in (*self.tests, *self.rewards))
        raise LookupError(f"lab {self.name} has no test {name!r}; it has: {names}")

    def chosen(self, words):
        """The names of the tests that --only asks for: tests and exercises, several to a word."""
        names = []
        for word in " ".join(words or ()).replace(",", " ").split():
            one = self.exercise(word)
            if one is None and re.fullmatch(labs.EXERCISE, word):
                there = ", ".join(one.id for one in self.exercises)
                raise LookupError(f"lab {self.name} has no exercise {word}; it has: {there}")
            names += [test.name for test in one.tests] if one else [self.test(word).name]
        return list(dict.fromkeys(names))

    def exercise(self, ident):
        """The exercise with this id, or None."""
        return next((one for one in self.exercises if one.id == ident), None)


def graded_labs(root=ROOT):
    """The numbers of the labs that have something to grade."""
    return [number for number in labs.lab_numbers(root) if table_of(number, root).get("tests")]


def table_of(number, root):
    """All that a lab's data file says."""
    path = root / "grade" / "labs" / f"{number}.toml"
    return labs.parse_table(path.read_text(), f"grade/labs/{path.name}")


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
                               property=(str, ...), half=(str, "")))
        if one.difficulty not in DIFFICULTY:
            raise CourseError(f"{spot}: difficulty is one of {', '.join(DIFFICULTY)}")
        if one.property not in PROPERTIES:
            raise CourseError(f"{spot}: property is one of {', '.join(PROPERTIES)}")
        if any(one.id == other.id for other, _ in found):
            raise CourseError(f"{spot}: there are two of it")
        found.append((one, claimed))
    return found


def _tests(data, exercises, where, flavours):
    tests = []
    machines = [[one.machine] for one in flavours] or [["qemu"]]
    for table in data.get("tests", []):
        spot = f"{where}: test {table.get('name', '?')}"
        ident = table.get("exercise", "")
        table.setdefault("handout", "ex-" + ident.replace(".", "-") if ident else "")
        one = Test(**_take(table, spot, name=(str, ...), exercise=(str, ...), title=(str, ...),
                           points=(int, ...), evidence=(str, ...), machines=(list, machines[-1 if table.get("other") else 0]),
                           base=(list, []), check=(str, ...), handout=(str, ""),
                           hostile=(bool, False), other=(bool, False)))
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


def _rewards(data, lab, half, where):
    """The rewards of one half, or of the lab."""
    found = []
    for table in data.get("rewards", []):
        spot = f"{where}: reward {table.get('name', '?')}"
        _take(table, spot, name=(str, ...), half=(str, ""), title=(str, ...), points=(int, ...), evidence=(str, ...), check=(str, ...))
        theirs = table.pop("half")
        one = Test(**table, exercise=REWARD, machines=("qemu",), base=(), handout="grader", hostile=False, reward=True)
        if any(one.name == other.name for other in (*lab.tests, *found)):
            raise CourseError(f"{spot}: there are two of it")
        if not 0 < one.points <= REWARD_MOST:
            raise CourseError(f"{spot}: a reward has 1 to {REWARD_MOST} points")
        if one.evidence not in EVIDENCE or one.evidence == "reported":
            raise CourseError(f"{spot}: evidence is witnessed or equivalent")
        if theirs not in (lab.halves or ("",)):
            raise CourseError(f"{spot}: `half` is one of {' '.join(lab.halves)}" if lab.halves else f"{spot}: the lab has no halves")
        if half in ("", theirs):
            found.append(one)
    return found


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


def _of_half(lab, half):
    """The assignment: the half's exercises, their tests, and without points what these rest on."""
    names = {lab.tests[0].name}
    todo = [test.name for one in lab.exercises if one.half == half for test in one.tests]
    while todo:
        test = lab.test(todo.pop())
        if test.name not in names:
            names.add(test.name)
            todo += test.base
    tests = [test if lab.half_of.get(test.exercise, half) == half else replace(test, points=0)
             for test in lab.tests if test.name in names]
    return replace(lab, half=half, title=lab.halves[half].title, tests=tests,
                   exercises=[one for one in lab.exercises if one.half == half])


def parse(text, where="lab", root=ROOT, half=""):
    """A Lab from the text of a data file, or one half of it."""
    table = labs.parse_table(text, where)
    lab = labs.lab_of(table, root, "", where)
    claims = _exercises(table, where)
    by_id = {one.id: one for one, _ in claims}
    tests = _tests(table, by_id, where, lab.flavours)
    lab = Lab(**{one.name: getattr(lab, one.name) for one in fields(lab)}, exercises=list(by_id.values()), tests=tests)
    lab = replace(lab, rewards=_rewards(table, lab, half, where))
    _balance(lab, claims, where)
    return _of_half(lab, half) if half else lab


def load(name, root=ROOT):
    """The lab with this number, or the half that is called 1A."""
    lab = labs.parse_lab(str(name), root)
    if lab.number not in graded_labs(root):
        raise CourseError(f"lab {lab.name} has no exercises yet: there is nothing to grade")
    path = root / "grade" / "labs" / f"{lab.number}.toml"
    return _with_whole(parse(path.read_text(), f"grade/labs/{path.name}", root, lab.half))


def whole_points(points):
    """What the own whole carries where the tests carry `points`: 15 % of both."""
    return round(points * WHOLE_PERCENT / (100 - WHOLE_PERCENT))


def _with_whole(lab):
    """The assignment with its last 15 %, which are for the student's own whole."""
    test = Test(WHOLE, WHOLE, WHOLE_TITLE, whole_points(lab.points), "witnessed", ("qemu",), (), "", "", False)
    return replace(lab, tests=[*lab.tests, test])
