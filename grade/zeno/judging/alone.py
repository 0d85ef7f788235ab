"""Which code a test judges: the student's own whole, or one exercise of it among the reference's others.

A mistake in one exercise would cost the points of all that rest on it. So a test that fails in the student's own
whole is run once more, on a build in which every other exercise of the lab comes from the reference (the
student's file with the other regions' bodies replaced), and that decides. Where the reference is not, catch-up
objects stand in for the files that don't hold the exercise; where there are none, the own whole decides alone.

The reference is merged here, outside of the walls, and never into the tree before the student's whole is built.
What such a build says or prints is shown to nobody but the course: see TRUST.md.
"""

import shutil
import threading
from pathlib import Path

from .build import Image
from .tools import tool


def _text(data):
    return data.decode("utf-8", "surrogateescape")


class Reference:
    """What the tree holds of a lab's solution, and how it is merged with a student's files."""

    def __init__(self, lab, root):
        self.lab = lab
        self.root = Path(root)
        self.folder = self.root / "solutions" / lab.dir
        self.region = tool("region", root)
        self.merge = tool("merge", root)

    @property
    def here(self):
        """True in the course's own tree."""
        return self.folder.is_dir()

    def text(self, name):
        """A file of it."""
        return (self.folder / name).read_text()

    def regions(self, name, text):
        """A file's regions, none if they can't be read."""
        try:
            return [one for one in self.region.parse(text, name) if not one.free]
        except self.region.RegionError:
            return []

    def mixed(self, name, data, wanted):
        """A student's file with the wanted exercises from the reference."""
        return self.merge.merged(_text(data), self.text(name), name, wanted).encode("utf-8", "surrogateescape")


def whole(reference, files, handed_in=False):
    """The student's own whole as {name: bytes}: what of the other half the assignment rests on is done.

    Of a half that was handed in, the other half is the reference's altogether; at home, its open exercises are.
    """
    lab, found = reference.lab, dict(files)
    needed = lab.needed_here()
    if not needed or not reference.here:
        return found
    for name in lab.files:
        if name in lab.handed_in:
            continue
        if handed_in or name not in files:
            found[name] = reference.text(name).encode()
            continue
        regions = reference.regions(name, _text(files[name]))
        wanted = {one.exercise for one in regions if reference.region.is_open(one)} & needed
        try:
            found[name] = reference.mixed(name, files[name], wanted) if wanted else files[name]
        except reference.region.RegionError:
            pass  # the student's own file says best what is wrong with it
    return found


class Alone:
    """Images in which one exercise is the student's and the others are not. Call it with an exercise's id."""

    def __init__(self, reference, files, tree, out, guests):
        self.reference, self.files, self.tree = reference, files, tree
        self.out, self.guests = Path(out), guests
        self.late = ""
        """The log of a build that did not end by itself: no other is tried, for each may take as long."""
        self.lock = threading.Lock()

    def holds(self, name, exercise):
        """True if a file holds a part of the exercise."""
        text = self.reference.text(name) if self.reference.here else _text(self.files.get(name, b""))
        return any(one.exercise == exercise for one in self.reference.regions(name, text))

    def untouched(self, exercise):
        """True if all of the exercise is as it was handed out: then no build can earn anything."""
        regions = [one for name, data in self.files.items()
                   for one in self.reference.regions(name, _text(data)) if one.exercise == exercise]
        return bool(regions) and all(self.reference.region.is_open(one) for one in regions)

    def possible(self, exercise):
        """True if there is anything to put in the place of the others."""
        if self.untouched(exercise):
            return False
        return self.reference.here or bool(self._objects(exercise))

    def _objects(self, exercise):
        """The files without the exercise that catch-up objects would stand in for: of the assignment, for in its own whole, too, they
        stand in for the half that it rests on."""
        found = tool("compiled", self.reference.root).objects(self.reference.root, self.reference.lab)
        return sorted(name for name in found if name in self.reference.lab.handed_in and not self.holds(name, exercise))

    def others(self, exercise):
        """What stands in for the rest, in words."""
        return "the reference's other exercises" if self.reference.here else f"the compiled reference's {', '.join(self._objects(exercise))}"

    def mixed(self, exercise):
        """The files: other files are the reference's, and in its own files the other exercises."""
        found = {}
        for name in self.reference.lab.files:
            if not self.holds(name, exercise):
                found[name] = self.reference.text(name).encode()
                continue
            theirs = {one.exercise for one in self.reference.regions(name, self.reference.text(name))}
            found[name] = self.reference.mixed(name, self.files[name], theirs - {exercise})
        return found

    def __call__(self, exercise):
        """The Image, or None where the own whole decides."""
        if not self.possible(exercise):
            return None
        with self.lock:
            try:
                if self.late:
                    image = Image(False, self.late)
                elif self.reference.here:
                    image = self.tree.build(self.mixed(exercise), self.out / exercise)
                else:
                    image = self.tree.build(self.files, self.out / exercise, alone=exercise)
            except (self.reference.region.RegionError, KeyError) as error:
                image = Image(False, f"{error}\n")
            if image.late:
                self.late = image.log
            forget(self.tree.path, self.reference.lab.dir)
        image.files = self.files
        image.guests = self.guests
        return image


def forget(tree, directory):
    """Remove what was compiled of the lab: no later build may find an object of the reference's in the tree."""
    for path in (Path(tree) / "build").rglob(directory):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
