#!/usr/bin/env python3
"""Turn a lab into make variables: which variant is built, from which sources.

`labinfo.py make --lab N ...` writes build/VARIANT/lab.mk and prints its path. What can't be is said
in one line on standard output with status 1 (the Makefile repeats it); what one should know, such as
an exercise that was taken from the reference, goes to standard error.
"""

import argparse
import re
import sys
from pathlib import Path

import catchup
import region
from course import ROOT, SAFE_NAME, SOURCE_SUFFIXES, CourseError, closure, parse_lab


def write_if_new(path, data):
    """Write `data` only where it changes something, so that make does not build again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_bytes() != data:
        path.write_bytes(data)


def common_sources(labs):
    """Sources that are nobody's exercise: the directories that the labs name."""
    found = []
    for place in dict.fromkeys(d for lab in labs for d in lab.sources):
        files = sorted((ROOT / place).glob("*"))
        found += [f"{place}/{p.name}" for p in files if p.suffix in SOURCE_SUFFIXES]
    return found


class Chosen:
    """Where the files of one lab come from."""

    def __init__(self, lab, wish, target, variant):
        self.lab = lab
        self.wish = wish
        self.target = target
        self.merged = Path("build") / variant / "merged" / lab.dir
        self.taken = set()
        self.open = set()
        self.compiled = [] if target or wish.whole(lab) else catchup.objects(ROOT, lab)

    def sources(self):
        """The lab's files that are compiled, as paths from the root."""
        if self.compiled:
            return []
        if self.wish.whole(self.lab):
            return [str(self.reference(name).relative_to(ROOT)) for name in self.lab.source_names()]
        return [str(self.one(name)) for name in self.lab.source_names()]

    def reference(self, name):
        """The solution's file, which must be here."""
        path = self.lab.solutions / name
        if not self.lab.solutions.is_dir():
            raise CourseError(f"lab {self.lab.number}: the reference (solutions/) is not here")
        if not path.is_file():
            raise CourseError(f"{path.relative_to(ROOT)} is not there")
        return path

    def one(self, name):
        """The student's file, or a copy of it in which the wanted exercises are the reference's."""
        path = self.lab.labs / name
        if not path.is_file():
            if self.lab.labs.is_dir() and self.target or not self.lab.solutions.is_dir():
                raise CourseError(f"{path.relative_to(ROOT)} is not there")
            self.taken.add(name)
            return self.reference(name).relative_to(ROOT)
        text = path.read_text(errors="surrogateescape")
        try:
            regions = region.parse(text, path.relative_to(ROOT))
        except region.RegionError as error:
            print(f"note: {error}", file=sys.stderr)
            return path.relative_to(ROOT)
        wanted = self.wanted(regions)
        if not wanted:
            return path.relative_to(ROOT)
        self.taken |= wanted
        self.merge(name, text, regions, wanted)
        return self.merged / name

    def wanted(self, regions):
        """The exercises of a file that come from the reference; notes those that nobody has."""
        mine = {one.exercise for one in regions}
        wanted = mine & self.wish.exercises
        if not self.target:
            unfinished = {one.exercise for one in regions if region.is_open(one)} - wanted
            if self.lab.solutions.is_dir():
                wanted |= unfinished
            else:
                self.open |= unfinished
        if wanted and not self.lab.solutions.is_dir():
            raise CourseError(f"REF={' '.join(sorted(wanted))}: the reference (solutions/) is not here")
        return wanted

    def merge(self, name, text, regions, wanted):
        """Write the merged file. The reference's N.0 comes along where the student's is empty."""
        path = self.reference(name)
        theirs = {one.id: one for one in region.parse(path.read_text(), path.relative_to(ROOT))}
        bodies = {}
        for one in regions:
            blank = one.free and not "".join(one.body).strip()
            if one.exercise in wanted or blank:
                if one.id not in theirs:
                    raise CourseError(f"{path.relative_to(ROOT)} has no EXERCISE {one.id}")
                bodies[one.id] = theirs[one.id].body
        data = region.with_bodies(text, regions, bodies).encode("utf-8", "surrogateescape")
        write_if_new(ROOT / self.merged / name, data)

    def tell(self):
        """Say what is not the student's own."""
        number = self.lab.number
        if self.compiled:
            print(f"note: lab {number}: the compiled reference in {catchup.PLACE}/{self.lab.dir}, not "
                  f"labs/{self.lab.dir}", file=sys.stderr)
        if self.taken:
            print(f"note: lab {number}: taken from the reference: {', '.join(sorted(self.taken))}",
                  file=sys.stderr)
        if self.open:
            print(f"note: lab {number} is needed, and not done yet: {', '.join(sorted(self.open))}",
                  file=sys.stderr)


class Wish:
    """What SOLUTION= and REF= ask for."""

    def __init__(self, solution, ref, labs):
        self.solution = bool(solution)
        self.labs, self.exercises = set(), set()
        numbers = [lab.number for lab in labs]
        for word in ref.replace(",", " ").split():
            found = re.fullmatch(r"([0-9]{1,3})(\.[0-9]{1,3})?", word)
            if not found or int(found[1]) not in numbers:
                raise CourseError(f"REF={ref}: {word!r} is no lab or exercise of this build; "
                                  f"labs: {' '.join(map(str, numbers))}, exercises like 1.3")
            if found[2]:
                self.exercises.add(word)
            else:
                self.labs.add(int(found[1]))

    def whole(self, lab):
        """True if the lab is the reference's altogether."""
        return self.solution or lab.number in self.labs

    def suffix(self):
        """What tells this variant's directory from others'."""
        words = [str(number) for number in sorted(self.labs)] + sorted(self.exercises)
        return ("-solution" if self.solution else "") + (f"-ref-{'-'.join(words)}" if words else "")

    def check(self, chosen):
        """Fail on an exercise that nobody has."""
        missing = self.exercises - {e for one in chosen for e in one.taken}
        missing -= {e for e in self.exercises if int(e.split(".")[0]) in self.labs or self.solution}
        if missing:
            raise CourseError(f"REF: there is no exercise {sorted(missing)[0]}")


def make_variables(args):
    """Write lab.mk for the lab that the arguments name; its path."""
    lab = parse_lab(args.lab)
    labs = closure(lab)
    wish = Wish(args.solution, args.ref, labs)
    variant = args.variant or f"lab{lab.number}{wish.suffix()}{args.suffix}"
    if not SAFE_NAME.match(variant):
        raise CourseError(f"VARIANT={variant}: no name for a directory")
    chosen = [Chosen(one, wish, one is lab, variant) for one in labs]
    sources = common_sources(labs)
    for one in chosen:
        sources += one.sources()
    wish.check(chosen)
    bad = [s for s in sources if not all(SAFE_NAME.match(part) for part in s.split("/"))]
    if bad:
        raise CourseError(f"{bad[0]!r} is no name for a source file")
    for one in chosen:
        one.tell()
    text = f"NUMBER := {lab.number}\nVARIANT := {variant}\nSOURCES := {' '.join(sources)}\n"
    text += f"CATCHUP := {' '.join(name for one in chosen for name in one.compiled)}\n"
    path = Path("build") / variant / "lab.mk"
    write_if_new(ROOT / path, text.encode())
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["make"])
    parser.add_argument("--lab", default="")
    parser.add_argument("--solution", default="")
    parser.add_argument("--ref", default="")
    parser.add_argument("--suffix", default="")
    parser.add_argument("--variant", default="")
    args = parser.parse_args()
    try:
        print(make_variables(args))
    except CourseError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
