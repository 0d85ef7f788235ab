#!/usr/bin/env python3
"""Turn a lab into make variables: which variant is built, from which sources.

`labinfo.py make --lab N ...` writes build/VARIANT/lab.mk and prints its path. What can't be is said
in one line on standard output with status 1 (the Makefile repeats it); what one should know, such as
an exercise that was taken from the reference, goes to standard error.
"""

import argparse
import sys
from pathlib import Path

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


def lab_sources(lab, from_reference):
    """The files of one lab that are compiled, as paths from the root."""
    place = lab.solutions if from_reference else lab.labs
    return [f"{place.relative_to(ROOT)}/{name}" for name in lab.source_names()
            if (place / name).is_file()]


def make_variables(args):
    """Write lab.mk for the lab that the arguments name; its path."""
    lab = parse_lab(args.lab)
    labs = closure(lab)
    variant = f"lab{lab.number}" + ("-solution" if args.solution else "") + args.suffix
    sources = common_sources(labs)
    for one in labs:
        sources += lab_sources(one, bool(args.solution))
    bad = [s for s in sources if not all(SAFE_NAME.match(part) for part in s.split("/"))]
    if bad:
        raise CourseError(f"{bad[0]!r} is no name for a source file")
    text = (f"NUMBER := {lab.number}\nVARIANT := {variant}\nSOURCES := {' '.join(sources)}\n")
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
    args = parser.parse_args()
    try:
        print(make_variables(args))
    except CourseError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
