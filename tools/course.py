"""The labs as data: grade/labs/N.toml and course.toml, for all tools that need to know them."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
"""Names of files that the build will look at; anything else in labs/ is left alone."""

SOURCE_SUFFIXES = (".c", ".asm")


class CourseError(Exception):
    """A lab or a setting that can't be; the text is one line for a person."""


@dataclass(frozen=True)
class Lab:
    """The keys of grade/labs/N.toml that say what a lab is made of."""

    number: int
    title: str
    version: int
    dir: str
    needs: tuple
    sources: tuple
    files: tuple
    handout: str
    handout_of: dict
    root: Path = field(repr=False)

    def page(self, exercise):
        """The handout that tells about an exercise."""
        return self.handout_of.get(exercise, self.handout)

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


def lab_numbers(root=ROOT):
    """The numbers of all labs of this tree, in order."""
    found = [p.stem for p in (Path(root) / "grade" / "labs").glob("*.toml")]
    return sorted(int(stem) for stem in found if stem.isdigit())


def load_lab(number, root=ROOT):
    """The Lab with this number; CourseError if its file is not as it should be."""
    path = Path(root) / "grade" / "labs" / f"{number}.toml"
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CourseError(f"{path.relative_to(root)}: {error}") from None
    for key, kind in (("lab", int), ("title", str), ("version", int), ("dir", str),
                      ("needs", list), ("sources", list), ("files", list), ("handout", str)):
        if not isinstance(table.get(key), kind):
            raise CourseError(f"grade/labs/{number}.toml: `{key}` is missing or no {kind.__name__}")
    elsewhere = table.get("handout_of", {})
    if not isinstance(elsewhere, dict) or not all(isinstance(p, str) for p in elsewhere.values()):
        raise CourseError(f"grade/labs/{number}.toml: `handout_of` is exercises and their handouts")
    for name in [table["dir"], *table["files"]]:
        if not SAFE_NAME.match(str(name)):
            raise CourseError(f"grade/labs/{number}.toml: {name!r} is no name for a file")
    return Lab(number, table["title"], table["version"], table["dir"], tuple(table["needs"]),
               tuple(table["sources"]), tuple(table["files"]), table["handout"], elsewhere, Path(root))


def parse_lab(text, root=ROOT):
    """The Lab that a person named on the command line; the last one if they named none."""
    numbers = lab_numbers(root)
    there_are = "there are: " + " ".join(map(str, numbers))
    if not numbers:
        raise CourseError("grade/labs has no labs")
    if not text:
        return load_lab(numbers[-1], root)
    if not re.fullmatch(r"[0-9]{1,3}", text):
        raise CourseError(f"LAB={text}: a lab is a number; {there_are}")
    if int(text) not in numbers:
        raise CourseError(f"LAB={text}: there is no such lab; {there_are}")
    return load_lab(int(text), root)


def closure(lab):
    """What `lab` is built of: the labs that it needs, in order, and itself last."""
    seen = {}

    def visit(one, path):
        if one.number in path:
            raise CourseError(f"grade/labs/{one.number}.toml: lab {one.number} needs itself")
        for number in sorted(one.needs):
            if number not in seen:
                visit(load_lab(number, one.root), path + (one.number,))
        seen[one.number] = one

    visit(lab, ())
    return list(seen.values())
