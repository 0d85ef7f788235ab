#!/usr/bin/env python3
"""Write labs/ from solutions/: each region that is a hole becomes a body that fails loudly.

`skeletons.py` writes, `skeletons.py --check` fails if labs/ is not what it would write. Which regions
stay as they are is `given` in course.toml. Files without regions are copied as they are.

Beside the files it writes labs/N-topic/skeleton.sums: a hash of every body and of every scaffold as
handed out, by which `make update` knows a student's work from ours.
"""

import argparse
import hashlib
import os
import sys
import tomllib
from pathlib import Path, PurePath

import region
import trouble
from course import ROOT, CourseError, lab_numbers, load_lab

SUMS = "skeleton.sums"


def given(root):
    """Ids of the regions and exercises that an instructor hands out done."""
    path = Path(root) / "course.toml"
    if not path.is_file():
        return frozenset()
    try:
        ids = tomllib.loads(path.read_text()).get("given", [])
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"course.toml: {error}") from None
    if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
        raise CourseError('course.toml: `given` is a list such as ["0.3"]')
    return frozenset(ids)


HINTS = ("none", "demand", "inline")


def hints_setting(root):
    """How course.toml gives hints: not at all, when `make hint` asks, or in the skeletons."""
    path = Path(root) / "course.toml"
    setting = tomllib.loads(path.read_text()).get("hints", "demand") if path.is_file() else "demand"
    if setting not in HINTS:
        raise CourseError(f"course.toml: `hints` is one of {', '.join(HINTS)}")
    return setting


def is_given(one, handed_out):
    """True if this region stays as the solution has it."""
    return one.id in handed_out or one.exercise in handed_out


def hole(one, name, lab):
    """The body that stands in for a region."""
    suffix = PurePath(name).suffix
    if one.free and not one.until:
        return []
    if suffix == ".txt":
        return one.until
    todo = region.todo_of(one, name, lab.page(one.exercise))
    if suffix in (".asm", ".inc"):
        lines = ([] if one.free else [todo]) + one.until
        return [line if line.endswith(":") else "\t" + line for line in lines]
    if one.indent == "":
        if not one.free and f'exercise_todo("{one.exercise}"' not in "\n".join(one.until):
            raise region.RegionError(
                f"{name}:{one.start + 1}: EXERCISE {one.id} is outside of a function, so its "
                f"`until then:` must say {todo}")
        return one.until
    return [one.indent + line if line else "" for line in ([] if one.free else [todo]) + one.until]


def parsed(path, lab):
    """The text and regions of one file of solutions/, all of this lab."""
    name = path.relative_to(lab.root)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{name}: {error}") from None
    regions = region.parse(text, name)
    for one in regions:
        if one.lab != lab.number:
            raise region.RegionError(f"{name}:{one.start + 1}: EXERCISE {one.id} in lab {lab.number}")
    return text, regions


def skeleton(text, regions, name, lab, handed_out):
    """The file as students get it."""
    lines = region.split(text)
    inline = hints_setting(lab.root) == "inline"
    for one in reversed(regions):
        comment = one.inline if inline else one.comment
        if is_given(one, handed_out):
            lines[one.start:one.body_start] = comment
        else:
            lines[one.start:one.end] = comment + hole(one, name, lab)
    return "\n".join(lines)


def digest(lines):
    """Sixteen digits for some lines; white space at their ends does not count."""
    text = "\n".join(line.rstrip() for line in lines).strip("\n")
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def sums(lab, files):
    """The text of skeleton.sums for {name: text} as handed out."""
    out = [f"version {lab.version}"]
    for name, text in files.items():
        regions = region.parse(text, name)
        out.append(f"{name} scaffold {digest(region.split(region.scaffold(text, regions)))}")
        out += [f"{name} {one.id} {digest(one.body)}" for one in regions]
    return "\n".join(out) + "\n"


def generate(lab):
    """{name: text} of labs/N-topic/ as it should be. Raises for what is wrong in solutions/."""
    handed_out = given(lab.root)
    files, where = {}, {}
    for path in sorted(lab.solutions.iterdir()):
        if path.is_file() and path.name not in lab.names():
            raise CourseError(f"{path.relative_to(lab.root)} is not among the `files` of "
                              f"grade/labs/{lab.number}.toml")
    for name in lab.names():
        path = lab.solutions / name
        if not path.is_file():
            raise CourseError(f"grade/labs/{lab.number}.toml names {name}, but "
                              f"{path.relative_to(lab.root)} is not there")
        text, regions = parsed(path, lab)
        for one in regions:
            if lab.half_of and not one.free and one.exercise not in lab.half_of:
                raise CourseError(f"grade/labs/{lab.number}.toml has no exercise {one.exercise}")
            spot = f"{path.relative_to(lab.root)}:{one.start + 1}"
            if one.id in where and not one.free:
                raise region.RegionError(f"{spot}: EXERCISE {one.id} is in {where[one.id]} too")
            where[one.id] = spot
            half = lab.half_of.get(one.exercise, "")
            if half and not one.free and any(name in other.files for letter, other in lab.halves.items()
                                             if letter != half):
                raise region.RegionError(f"{spot}: EXERCISE {one.id} is of half {half}, and {name} belongs to "
                                         "another half")
        files[name] = skeleton(text, regions, path.relative_to(lab.root), lab, handed_out)
    known = set(where) | {i.rstrip("abcdefghijklmnopqrstuvwxyz") for i in where}
    for ident in handed_out - known:
        if ident.split(".")[0] == str(lab.number):
            raise CourseError(f"course.toml: `given` names {ident}, which lab {lab.number} has not")
    files[SUMS] = sums(lab, files)
    return files


def put(path, text):
    """Replace a file in one step, so that nobody finds half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    new.write_text(text)
    new.replace(path)


def read_sums(place):
    """skeleton.sums as {(name, id): digest}, and the version; empty if there is none."""
    table, version = {}, None
    path = place / SUMS
    if path.is_file() and not path.is_symlink():
        for line in path.read_text(errors="replace").splitlines():
            words = line.split()
            if len(words) == 3:
                table[words[0], words[1]] = words[2]
            elif len(words) == 2 and words[0] == "version":
                version = words[1]
    return table, version


def untouched(place, name):
    """True if nobody changed this file of labs/ since it was generated."""
    table, _ = read_sums(place)
    try:
        text = (place / name).read_text()
        regions = region.parse(text, name)
    except (OSError, UnicodeDecodeError, region.RegionError):
        return False
    bodies = [table.get((name, one.id)) == digest(one.body) for one in regions]
    lines = region.split(region.scaffold(text, regions))
    return all(bodies) and table.get((name, "scaffold")) == digest(lines)


def differences(lab, files):
    """One line for each way in which labs/ is not what it should be."""
    place, found = lab.labs, []
    for name, text in files.items():
        path = place / name
        if not path.is_file():
            found.append(f"{path.relative_to(lab.root)} is not there")
        elif path.read_text(errors="replace") != text:
            found.append(f"{path.relative_to(lab.root)} differs from its solution's skeleton")
    for path in sorted(place.glob("*")) if place.is_dir() else []:
        if path.name not in files:
            found.append(f"{path.relative_to(lab.root)} has no solution")
    return found


def write(lab, files, force):
    """Write labs/N-topic/. What somebody worked in is not overwritten: list it instead."""
    kept = []
    for name, text in files.items():
        path = lab.labs / name
        if path.is_file() and path.read_text(errors="replace") == text:
            continue
        if path.is_file() and name != SUMS and not force and not untouched(lab.labs, name):
            kept.append(f"{path.relative_to(lab.root)} holds somebody's work: commit or copy it, "
                        "then `make skeletons FORCE=1` overwrites it")
    if kept:
        return kept
    for name, text in files.items():
        path = lab.labs / name
        if not path.is_file() or path.read_text(errors="replace") != text:
            put(path, text)
            print(f"wrote {path.relative_to(lab.root)}")
    return []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    parser.add_argument("--force", action="store_true", help="overwrite changed files of labs/")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args()
    root = args.root.resolve()
    try:
        labs = [load_lab(number, root) for number in lab_numbers(root)]
        labs = [lab for lab in labs if lab.solutions.is_dir()]
        if not labs:
            raise CourseError("solutions/ is not here, so there is nothing to make skeletons from")
        trouble = []
        for lab in labs:
            files = generate(lab)
            trouble += differences(lab, files) if args.check else write(lab, files, args.force)
    except (CourseError, region.RegionError) as error:
        print(f"skeletons: {error}", file=sys.stderr)
        return 1
    for line in trouble:
        print(f"skeletons: {line}", file=sys.stderr)
    if trouble and args.check:
        print("skeletons: run `make skeletons` and commit the result", file=sys.stderr)
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
