#!/usr/bin/env python3
"""Carry a student's regions from another tree's labs/ into this one's: `update.py DIR`.

A region is carried if it is not as handed out there, and placed by its id if it is as handed out
here. All else that is the student's is written to labs/N-topic/unplaced-WHAT.txt and named: regions
that have no place here or whose place holds other work, changes outside of regions, files that can't
be read as regions. Nothing is overwritten; what is the same on both sides is left alone, so a second
run changes nothing. The other tree is only read, and nothing in it is run.
"""

import argparse
import os
import stat
import sys
from pathlib import Path

import region
import trouble
from course import ROOT, SAFE_NAME, CourseError, lab_numbers, load_lab
from skeletons import SUMS, digest, read_sums

CAP = 4 << 20


def read(path):
    """The text of a regular file, or None if there is none. Bytes that are no text survive."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        data = file.read(CAP + 1)
    if len(data) > CAP:
        return None
    return data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


class Place:
    """One file of labs/, here or there: its text, its regions, and what was handed out."""

    def __init__(self, folder, name):
        self.path = folder / name
        self.name = name
        self.text = read(self.path)
        self.sums, self.version = read_sums(folder)
        self.regions, self.broken = [], ""
        if self.text is not None:
            try:
                self.regions = region.parse(self.text, name)
            except region.RegionError as error:
                self.broken = str(error)

    def find(self, ident):
        """The region with this id, or None."""
        return next((one for one in self.regions if one.id == ident), None)

    def pristine(self, one):
        """True if the region is as handed out. Without a hash: if it still says that it is open."""
        known = self.sums.get((self.name, one.id))
        if known is None:
            return region.is_open(one) or not "".join(one.body).strip()
        return known == digest(one.body)

    def pristine_scaffold(self):
        """True if all outside of the regions is as handed out, or nobody knows."""
        known = self.sums.get((self.name, "scaffold"))
        lines = region.split(region.scaffold(self.text, self.regions))
        return known is None or known == digest(lines)


class Update:
    """Carries one lab; counts what it did, and keeps the lines to print."""

    def __init__(self, lab, source):
        self.lab = lab
        self.source = source / "labs" / lab.dir
        self.here = {name: Place(lab.labs, name) for name in lab.names()
                     if (lab.labs / name).is_file()}
        self.changed = {}
        self.said = []
        self.unplaced = 0

    def say(self, line):
        self.said.append(f"lab {self.lab.number}: {line}")

    def set_aside(self, what, text, why):
        """Keep work that has no place: in a file of its own, never over another."""
        for turn in range(1, 1000):
            tail = "" if turn == 1 else f"-{turn}"
            path = self.lab.labs / f"unplaced-{what}{tail}.txt"
            old = read(path)
            if old is None and not os.path.lexists(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with open(path, "x", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(text)
            elif old != text:
                continue
            self.unplaced += 1
            self.say(f"{why}: kept in {path.relative_to(self.lab.root)}")
            return
        raise CourseError(f"{self.lab.dir}: a thousand files unplaced-{what} are here already")

    def run(self):
        """Carry every file of the other tree's lab that the lab knows."""
        if not self.source.is_dir() or self.source.is_symlink():
            return
        known = set(self.lab.names())
        for path in sorted(self.source.iterdir()):
            if path.name == SUMS or path.name.startswith("unplaced-"):
                continue
            if path.is_symlink() or not path.is_file():
                self.say(f"{path.name!r} is no regular file: left where it is")
            elif path.name in known or not SAFE_NAME.match(path.name):
                if path.name in known:
                    self.file(path.name)
                else:
                    self.say(f"{path.name!r} is no file of the lab: left where it is")
            else:
                self.foreign(path.name)
        for name, bodies in self.changed.items():
            place = self.here[name]
            text = region.with_bodies(place.text, place.regions, bodies)
            put_text(place.path, text)

    def foreign(self, name):
        """A file that this lab no longer has: its regions may have moved."""
        there = Place(self.source, name)
        if there.text is not None and not there.broken and there.regions:
            self.carry(there)
        else:
            self.say(f"{name!r} is no file of the lab: left where it is")

    def file(self, name):
        """One file that both trees know by name."""
        there = Place(self.source, name)
        if there.text is None:
            self.say(f"{name!r} can't be read: left where it is")
        elif there.broken:
            self.whole(there, f"{there.broken}")
        elif not there.regions and not (self.here.get(name) and self.here[name].regions):
            self.plain(there)
        else:
            self.carry(there)

    def plain(self, there):
        """A file without regions is the student's as a whole."""
        here = self.here.get(there.name)
        if there.pristine_scaffold() and there.sums:
            return
        if here is None:
            put_text(self.lab.labs / there.name, there.text)
            self.say(f"{there.name} carried")
        elif here.text == there.text:
            return
        elif here.pristine_scaffold() and here.sums:
            put_text(here.path, there.text)
            self.say(f"{there.name} carried")
        else:
            self.whole(there, f"{there.name} has other work in it here")

    def whole(self, there, why):
        here = self.here.get(there.name)
        if here is None or here.text != there.text:
            self.set_aside(there.name, there.text, why)

    def carry(self, there):
        """Every region of a file that is the student's work, and what they changed around them."""
        for one in there.regions:
            if not there.pristine(one):
                self.region(there, one)
        here = self.here.get(there.name)
        if not there.pristine_scaffold() and not (
                here and region.scaffold(here.text, here.regions)
                == region.scaffold(there.text, there.regions)):
            self.whole(there, f"{there.name} was changed outside of its regions, too")

    def target(self, there, one):
        """Where a region belongs here: N.0 in the file of the same name, others wherever they are."""
        if one.free:
            place = self.here.get(there.name)
            return (place, place.find(one.id)) if place else (None, None)
        for place in self.here.values():
            found = place.find(one.id)
            if found:
                return place, found
        return None, None

    def region(self, there, one):
        place, mine = self.target(there, one)
        what = f"{one.id}-{there.name}" if one.free else one.id
        text = "\n".join(one.body) + "\n"
        if mine is None:
            self.set_aside(what, text, f"{one.id} of {there.name} has no place here")
        elif digest(mine.body) == digest(one.body):
            return
        elif not place.pristine(mine):
            self.set_aside(what, text, f"{one.id} has other work in it here")
        else:
            self.changed.setdefault(place.name, {})[one.id] = one.body
            self.say(f"{one.id} carried into {place.name}")


def put_text(path, text):
    """Replace a file in one step; bytes that are no text stay what they were."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    new.write_bytes(text.encode("utf-8", "surrogateescape"))
    new.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="the other tree, the one that has labs/ in it")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args()
    root, source = args.root.resolve(), Path(args.source)
    if not args.source:
        print("update: say where your work is: make update FROM=dir", file=sys.stderr)
        return 1
    if not (source / "labs").is_dir():
        print(f"update: {str(source)!r} has no labs/ in it", file=sys.stderr)
        return 1
    if source.resolve() == root:
        print("update: FROM is this very tree", file=sys.stderr)
        return 1
    unplaced, said = 0, []
    try:
        for number in lab_numbers(root):
            update = Update(load_lab(number, root), source)
            update.run()
            unplaced += update.unplaced
            said += update.said
    except CourseError as error:
        print(f"update: {error}", file=sys.stderr)
        return 1
    for line in said or ["nothing to carry: all that is yours there is here already"]:
        print(line)
    if unplaced:
        print(f"{unplaced} pieces have no place; look at the unplaced files and move what you need")
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
