"""Where a tree keeps compiled reference objects (tools/catchup.py makes them), for each build, which looks for them."""

from pathlib import Path

from course import CourseError

PLACE = "catchup"
FACTS = "CATCHUP"


def folder_of(lab, half):
    """What the folder of a lab's or a half's objects is called."""
    return f"{lab.dir}-{half}" if half else lab.dir


def sources_of(lab, half):
    """The sources whose objects lie in it."""
    files = lab.halves[half].files if half else lab.names()
    return [name for name in lab.source_names() if name in files]


def objects(root, lab):
    """The objects of a lab that the tree has, {source's name: path from the root}."""
    found = {}
    for half in ["", *lab.halves]:
        place = f"{PLACE}/{folder_of(lab, half)}"
        if not (Path(root) / place / FACTS).is_file():
            continue
        for name in sources_of(lab, half):
            if not (Path(root) / place / f"{name}.o").is_file():
                raise CourseError(f"{place} is not whole: {name}.o is missing; unpack it again, or remove it "
                                  f"to build your own labs/{lab.dir}")
            found.setdefault(name, f"{place}/{name}.o")
    return found
