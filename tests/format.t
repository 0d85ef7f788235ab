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


ROOMS = {
    # room: (folders, cap, aim) in non-blank lines of C and assembly, solutions among them. No room grows beyond its
    # cap; one that is above its aim is to shrink, and the test says so.
    "kern": (("kern", "kern/gdb", "solutions/0-boot"), 5900, 4500),
    "vmm core and mem": (("vmm", "vmm/mem"), 3500, 2400),
    "x86": (("vmm/x86",), 3400, 3000),
    "te and its lab": (("vmm/te", "solutions/1-trap-emulate"), 3990, 3200),
    "bt and its lab": (("vmm/bt", "solutions/3-translate"), 3700, 3200),
    "flat and window": (("vmm/mmu",), 300, 300),
    "shadow and its lab": (("vmm/mmu/shadow", "solutions/2-shadow"), 1750, 1600),
    "devices": (("vmm/dev",), 2400, 1500),
    "load": (("vmm/load",), 1000, 900),
    "debug": (("vmm/debug",), 1500, 1500),
    "trials": (("trials/boot", "trials/guests", "trials/shadow"), 1400, 1000),
}
PATH_ROOMS = ("kern", "vmm core and mem", "te and its lab", "shadow and its lab")
PATH_CAP = 14500
"""A path through the host: kernel, core, one engine, one MMU mode; the aim is 10,000."""


def room_lines(folders):
    """Non-blank lines of the C and assembly that lies in these folders themselves."""
    return sum(1 for folder in folders for path in sorted((ROOT / folder).glob("*")) if path.suffix in C_LIKE
               for line in path.read_text(errors="replace").split("\n") if line.strip())


def rooms():
    """No room, and no path through the host, grows beyond its cap."""
    size = {name: room_lines(folders) for name, (folders, _, _) in ROOMS.items()}
    bad = [f"{name}: {size[name]} lines of at most {cap}" for name, (_, cap, _) in ROOMS.items() if size[name] > cap]
    ok(not bad, "no room has more lines than its cap", got=bad)
    for name, (_, _, aim) in ROOMS.items():
        if size[name] > aim:
            print(f"# {name}: {size[name]} lines; the aim is {aim}")
    path = sum(size[name] for name in PATH_ROOMS)
    ok(path <= PATH_CAP, "a path through kernel, core, one engine and one MMU mode stays within its cap",
       got=f"{path} lines of at most {PATH_CAP}")


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
    done = run("python3", TOOLS / "comments.py", "--check", cwd=ROOT)
    ok(done.status == 0, "comments have 100 columns at most", out=done.out)
    if (ROOT / "solutions").is_dir():
        rooms()
    finish()


main()
