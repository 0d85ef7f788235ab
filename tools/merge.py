"""A file of a lab in which some exercises are the reference's and the others the student's.

The scaffold is the student's, and so is N.0; the reference's own helpers come along. Where both have helpers, the
reference's get a prefix wherever they are named, so that two of the same name do no harm.
"""

import re

import region

PREFIX = "reference_"
MADE = re.compile(r"^\s*#\s*define\s+(\w+)|^%i?(?:define|macro|assign)\s+(\w+)|^(\w+):|^(\w+)\s+equ\b|^(\w+)\("
                  r"|\b(?:struct|union|enum)\s+(\w+)\s*\{|^static\b[^(={;]*?(\w+)\s*(?:\[[^]]*\]\s*)?[=;]", re.M)
"""What a helper is called where it is made, in C and NASM, laid out as `make format` does."""


def blank(one):
    """True for a region without anything in it."""
    return not "".join(one.body).strip()


def renamed(lines, names):
    """Lines in which these names have the prefix."""
    if not names:
        return list(lines)
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, sorted(names))) + r")\b")
    return [pattern.sub(PREFIX + r"\1", line) for line in lines]


def merged(text, reference, name, wanted):
    """The student's `text` with the bodies of the `wanted` exercises from `reference`. RegionError if it can't be."""
    mine = region.parse(text, name)
    theirs = {one.id: one for one in region.parse(reference, name)}
    helpers = next((one for one in theirs.values() if one.free and not blank(one)), None)
    both = helpers is not None and any(one.id == helpers.id and not blank(one) for one in mine)
    names = {next(filter(None, found)) for found in MADE.findall("\n".join(helpers.body))} if both else set()
    bodies = {}
    for one in mine:
        if one.exercise not in wanted and not one.free:
            continue
        if one.id not in theirs:
            raise region.RegionError(f"{name}: the reference has no EXERCISE {one.id}")
        body = renamed(theirs[one.id].body, names)
        if not one.free or blank(one):
            bodies[one.id] = body
        elif both and one.id == helpers.id:
            bodies[one.id] = body + one.body
    return region.with_bodies(text, mine, bodies)
