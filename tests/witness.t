#!/usr/bin/env python3
"""What the checks look at in the kernel is there: every symbol and every field that grade/ names.

A check that asks for a name which the kernel has no more tells nothing of a student's work. This finds it in
seconds; grading the references would, too, in minutes.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.judging import course, evidence, headers  # noqa: E402
from zeno.judging.pagehost import Host  # noqa: E402
from zeno.judging.tools import tool  # noqa: E402

SHARED = "lab4exits.py"
SYMBOL = re.compile(r"\b(?:symbol|call|counted)\(\s*\"(\w+)\"")
FIELD = re.compile(r"\.at\(\s*\"([^\"]+)\", \"([^\"]+)\"\)")
OFFSET = re.compile(r"offset_of\([\w.]+, \"([^\"]+)\",\s*\"([^\"]+)\", \"([^\"]+)\"\)")


def fields():
    """(header, structure, member) and the file that names them."""
    for path in sorted((ROOT / "grade").rglob("*.py")):
        text = path.read_text()
        for name, member in FIELD.findall(text):
            yield path.name, (Host.HEADER, name, member)
        for member in re.findall(r"\bput\(\"(\w+)\"", text) if path.name == "pagehost.py" else ():
            yield path.name, (Host.HEADER, "struct paging", member)
        for found in OFFSET.findall(text):
            yield path.name, found


def symbols():
    """Symbols that the checks of a lab look for, by the lab's number."""
    for path in sorted((ROOT / "grade" / "checks").glob("lab*.py")):
        number = tool("course").number_of(re.match(r"lab(\d+s?)", path.name)[1])
        yield from ((path.name, number, name) for name in SYMBOL.findall(path.read_text()))


def address(images, where, number, name):
    """Of what both flavours of Lab 4 share, a symbol may be there in one of them alone; of a lab in guests, in one of these."""
    try:
        return images[number].address(name)
    except KeyError:
        guests = tool("labinfo").load_lab(number).guests
        found = [guest for guest in guests if guest_symbols(number, guest).has(name)]
        if guests:
            return guest_symbols(number, (found or guests)[0]).address(name)
        if where != SHARED:
            raise
        return images["4s"].address(name)


def guest_symbols(number, guest):
    """Those of a guest that the student's files are part of."""
    return evidence.Symbols(ROOT / "build" / f"lab{number}-solution" / "guest" / f"{guest}.elf")


def main():
    """Both, once each."""
    asked = sorted(set(fields()))
    for where, (header, name, member) in asked:
        try:
            found = headers.offset_of(ROOT, header, name, member)
        except RuntimeError as error:
            found = str(error)
        ok(isinstance(found, int), f"{where}: {name}, {member}", found=found)
    ok(len(asked) > 10, "fields are looked for", asked=len(asked))
    if not (ROOT / "solutions").is_dir():
        skip("symbols", "no solutions in this tree")
        finish()
    images, wanted = {}, sorted(set(symbols()), key=str)
    for number in (one for one in course.graded_labs() if one in {number for _, number, _ in wanted}):
        done = run("make", "-s", "-C", ROOT, f"LAB={number}", "SOLUTION=1", "REF=", "build")
        ok(done.status == 0, f"the reference of Lab {number} builds", out=done.out[-2000:])
        images[number] = evidence.Symbols(ROOT / "build" / f"lab{number}-solution" / "zeno.elf")
    for where, number, name in wanted:
        try:
            there = address(images, where, number, name)
        except (KeyError, evidence.Ambiguous) as error:
            there, name = None, f"{name}: {error!r}"
        ok(there, f"{where}: {name}")
    ok(len(wanted) > 20, "symbols are looked for", wanted=len(wanted))
    finish()


main()
