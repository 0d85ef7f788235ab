#!/usr/bin/env python3
"""The layout of our C, and habits of all our text that no compiler checks."""

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, ok, run, skip  # noqa: E402

C_LINES = 500
FUNCTION_LINES = 60
WIDTH = 120
C_LIKE = (".c", ".h", ".asm", ".inc")


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
    bad = [f"{p.relative_to(ROOT)}: {n} lines" for p in code if "tests" not in p.parts
           and "table" not in p.name and (n := p.read_text().count("\n")) > C_LINES]
    ok(not bad, "files have 500 lines at most, tables exempt", got=bad)
    bad = [one for p in code if p.suffix == ".c" and "tests" not in p.parts
           for one in long_functions(p)]
    ok(not bad, "functions have 60 lines at most", got=bad)
    host = [p for p in files if p.relative_to(ROOT).parts[0] in ("kern", "vmm", "trials", "solutions", "labs")
            and p.suffix in C_LIKE]
    guest = [p for p in files if p.relative_to(ROOT).parts[0] == "guest" and p.suffix in C_LIKE]
    bad = [str(p.relative_to(ROOT)) for p in host if "<guest/" in p.read_text()]
    bad += [str(p.relative_to(ROOT)) for p in guest
            if "<kern/" in p.read_text() or "<vmm/" in p.read_text()]
    ok(not bad, "host and guest share headers of inc/ alone", got=bad)
    bad = [str(p.relative_to(ROOT)) for p in files
           if p.relative_to(ROOT).parts[0] == "kern" and "<vmm/" in p.read_text(errors="replace")]
    ok(not bad, "kern/ knows nothing of vmm/", got=bad)
    finish()


main()
