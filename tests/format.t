#!/usr/bin/env python3
"""The layout of our C, and habits of all our text that no compiler checks."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(TOOLS))
import labinfo  # noqa: E402

FILE_LINES = 500
LONG = {
    # What is longer, and may not grow; tables are.
    "guest/sequences/table.c": 515,
    "grade/zeno/guests/mmio.py": 516,
    "tests/boot.t": 580, "tests/dummy/script.c": 501, "tests/grader.t": 650, "tests/machines.t": 1000,
    "tests/unit/pv_grants.c": 900,
}
FUNCTION_LINES = 60
WIDTH = 120
C_LIKE = (".c", ".h", ".asm", ".inc")
ENGINES = "te|bt|svm|vmx|pv"
STRANGERS = {
    # rooms: the headers that they never include
    "kern": "vmm/|trials/|user/",
    "vmm user": "trials/",
    "vmm/x86": "kern/|vmm/(?!x86/)",
    "vmm/mem vmm/exits vmm/create vmm/words vmm/dev vmm/load vmm/debug vmm/*": f"vmm/({ENGINES})/",
    "vmm/te": "vmm/(bt|svm|vmx|pv)/",
    "vmm/svm": "vmm/(te|bt|vmx|pv)/",
    "vmm/vmx": "vmm/(te|bt|svm|pv)/",
    "vmm/pv": "vmm/(te|bt|svm|vmx)/",
    "vmm/mmu": f"vmm/({ENGINES})/",
}
"""What a room stands on never leans on the room: a lower one builds, is read, and is graded without those above it."""



def rooms():
    """No room, and no path through the host, grows beyond its cap; nobody is asked to read a book first."""
    found = labinfo.rooms()
    bad = [f"{name}: {size} lines of at most {cap}" for name, (_, size, cap, _) in found.items() if size > cap]
    ok(not bad, "no room has more lines than its cap", got=bad)
    for name, (_, size, cap, aim) in found.items():
        if size > aim:
            print(f"# {name}: {size} lines; the aim is {aim}")
        if size * 101 < cap * 100:
            print(f"# {name}: its cap of {cap} is more than 1 % above")
    path = sum(found[name][1] for name in labinfo.PATH_ROOMS)
    ok(path <= labinfo.PATH_CAP, "a path through kernel, core, one engine and one MMU mode stays within its cap",
       got=f"{path} lines of at most {labinfo.PATH_CAP}")
    ok(not labinfo.homeless(), "each folder of the host's code belongs to a room", got=labinfo.homeless())
    asked = labinfo.reads()
    bad = [f"{name}: {lines} lines" for name, _, files, lines in asked if not files or lines > labinfo.READS_MAX]
    ok(not bad, f"what a half-lab says to read first has at most {labinfo.READS_MAX} lines", got=bad)
    bad = [f"{handout.name}: {name}" for _, handout, files, _ in asked for name in files
           if not re.search(rf"`([\w./-]+/)?{re.escape(Path(name).name)}`", handout.read_text())]
    ok(not bad, "and its handout names it", got=bad)


def fits(path, rooms_of):
    """Whether a file is in one of these rooms; "vmm/*" is what lies in vmm/ itself."""
    folder = str(path.parent.relative_to(ROOT))
    return any(folder == room[:-2] if room.endswith("/*") else f"{folder}/".startswith(f"{room}/") for room in rooms_of.split())


def tracked():
    out = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT,
                         capture_output=True, check=True).stdout
    return [ROOT / name for name in out.decode().split("\0")
            if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


def long_functions(path):
    """Functions of more lines than they should have; their names start lines, their ends are `}`."""
    start, found = None, []
    for i, line in enumerate(path.read_text().split("\n"), 1):
        if line == "{":
            start = i
        elif line == "}" and start:
            if i - start + 1 > FUNCTION_LINES:
                found.append(f"{path.relative_to(ROOT)}:{start}: {i - start + 1} lines")
            start = None
    return found


def width(line):
    return len(line.expandtabs(8))


def mapped_rooms():
    """Rooms that the guide's map names: `vmm/te/`, and `rare/` in the same row."""
    rows = (ROOT / "handouts/guide.md").read_text().partition("{#map}")[2].partition("## ")[0].split("\n")
    for first, *others in filter(None, (re.findall(r"`([\w/-]+)/`", row) for row in rows)):
        yield from (first, *others, *(f"{first}/{one}" for one in others))


def exported_rooms():
    """The host's folders with files of their own, but words of a room; and what guests share."""
    for top in ("kern", "vmm", "guest"):
        for p in (ROOT / top).rglob("*/"):
            if any(p.glob("*.c")) and p.name != "words" and (top != "guest" or not any(p.glob("main.c"))):
                yield str(p.relative_to(ROOT))


def main():
    if shutil.which("clang-format"):
        done = run("python3", TOOLS / "format.py", "--check", cwd=ROOT)
        ok(done.status == 0, "all C is laid out as .clang-format says", out=done.out)
    else:
        skip("all C is laid out as .clang-format says", "clang-format is not here")
    files = tracked()
    texts = [p for p in files if p.suffix in C_LIKE + (".py", ".t", ".md", ".toml", ".sh", ".ld")
             or p.name == "Makefile"]
    bad = [str(p.relative_to(ROOT)) for p in texts if b"\r" in p.read_bytes()]
    ok(not bad, "line ends are LF", got=bad)
    bad = [str(p.relative_to(ROOT)) for p in texts
           if p.stat().st_size and not p.read_bytes().endswith(b"\n")]
    ok(not bad, "files end in a line end", got=bad)
    bad = [f"{p.relative_to(ROOT)}:{i}" for p in texts
           for i, line in enumerate(p.read_text().split("\n"), 1) if line != line.rstrip()
           and p.suffix != ".md"]
    ok(not bad, "no white space at line ends", got=bad)
    code = [p for p in files if p.suffix in C_LIKE]
    bad = [str(p.relative_to(ROOT)) for p in code if not p.read_bytes().isascii()]
    ok(not bad, "C and assembly are ASCII", got=bad)
    bad = [f"{p.relative_to(ROOT)}:{i}" for p in code if p.suffix in (".asm", ".inc")
           for i, line in enumerate(p.read_text().split("\n"), 1) if width(line) > WIDTH]
    ok(not bad, "lines of assembly have 120 columns at most", got=bad)
    sizes = {str(p.relative_to(ROOT)): p.read_text().count("\n") for p in files if p.suffix in (*C_LIKE, ".py", ".t")}
    bad = [f"{name}: {n} lines" for name, n in sizes.items() if n > LONG.get(name, FILE_LINES)]
    ok(not bad, f"files have {FILE_LINES} lines at most, or what they have", got=bad)
    bad = [one for p in code if p.suffix == ".c" and "tests" not in p.parts
           for one in long_functions(p)]
    ok(not bad, "functions have 60 lines at most", got=bad)
    in_guests = {lab.dir for lab in map(labinfo.load_lab, labinfo.lab_numbers()) if lab.guests}
    guest = [p for p in files if (p.relative_to(ROOT).parts[0] == "guest" or p.parent.name in in_guests) and p.suffix in C_LIKE]
    host = [p for p in files if p.relative_to(ROOT).parts[0] in ("kern", "vmm", "trials", "solutions", "labs")
            and p.suffix in C_LIKE and p not in guest]
    bad = [str(p.relative_to(ROOT)) for p in host if "<guest/" in p.read_text()]
    bad += [str(p.relative_to(ROOT)) for p in guest
            if "<kern/" in p.read_text() or "<vmm/" in p.read_text()]
    ok(not bad, "host and guest share headers of inc/ alone", got=bad)
    for rooms_of, strangers in STRANGERS.items():
        bad = [f"{p.relative_to(ROOT)}: {name}" for p in files if p.suffix in C_LIKE and fits(p, rooms_of)
               for name in re.findall(r"^#include <(.*)>$", p.read_text(), re.M) if re.match(strangers, name)]
        ok(not bad, f"{rooms_of} know nothing of {strangers}", got=bad)
    left_out = tomllib.loads((ROOT / "course.toml").read_text()).get("export", {}).get("leave_out", [])
    unsaid = ("build", "tests", "inc", "solutions", *(name.rstrip("/") for name in left_out))
    bad = [room for room in (*exported_rooms(), *(p.name for p in ROOT.glob("[a-z]*") if p.is_dir() and any(p.rglob("*.c"))))
           if room not in (*mapped_rooms(), *unsaid)]
    ok(not bad, "the guide's map has each room that is exported", got=bad)
    bad = [str(p.relative_to(ROOT)) for p in files if p.suffix == ".t" and not os.access(p, os.X_OK)]
    ok(not bad, "tests can be executed: prove does so", got=bad)
    done = run("python3", TOOLS / "comments.py", "--check", cwd=ROOT)
    ok(done.status == 0, "comments have 100 columns at most, and tools/comments.py would change none", out=done.out)
    made = folder() / "made.c"
    made.write_text("int x;\n\tif (!x) /* " + "words and " * 9 + "*/\n\t\treturn;\n")
    done = run("python3", TOOLS / "comments.py", "--check", made, cwd=ROOT)
    ok(done.status == 1 and f"{made}:2: " in done.out, "one behind code that is too long is seen", out=done.out)
    if (ROOT / "solutions").is_dir():
        rooms()
    finish()


main()
