#!/usr/bin/env python3
"""Say what is on this machine: emulators, engines, versions; then one verdict for each lab."""

import os
import platform
import re
import shutil
import subprocess
import sys

import trouble
from course import ROOT, CourseError, lab_numbers, load_lab

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import kvm, qemu as driver  # noqa: E402

PROGRAMS = [
    ("make", ["make", "--version"]), ("git", ["git", "--version"]), ("gcc", ["gcc", "--version"]),
    ("clang", ["clang", "--version"]), ("ld", ["ld", "--version"]), ("nasm", ["nasm", "--version"]),
    ("qemu", ["qemu-system-x86_64", "--version"]), ("bochs", ["bochs", "--help"]),
    ("gdb", ["gdb", "--version"]), ("pandoc", ["pandoc", "--version"]),
    ("clang-format", ["clang-format", "--version"]), ("prove", ["prove", "--version"]),
]


def version(command):
    """The version that a program gives, "?" if it gives none, None if it is not here."""
    if not shutil.which(command[0]):
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    found = re.search(r"\d+\.\d+[\w.+-]*", done.stdout + done.stderr)
    return found[0] if found else "?"


def missing(what):
    """None, or the line that says what to install for `what`."""
    done = subprocess.run(["sh", str(ROOT / "tools" / "install.sh"), "--missing", what],
                          capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip() if done.returncode else None


def engines():
    """Each engine and what it can run on here."""
    qemu, bochs = shutil.which("qemu-system-x86_64"), shutil.which("bochs")
    here = [name for name, there in (("QEMU", qemu), ("Bochs", bochs)) if there]
    return [
        ("te, bt", " and ".join(here)),
        ("svm", " and ".join(here)),
        ("vmx", "Bochs" if bochs else ""),
        ("pv", " and ".join(here)),
    ]


def lab_line(lab, build, run):
    """The verdict on one lab."""
    if build:
        return f"lab {lab.number} ({lab.title}): can't be built"
    if run:
        return f"lab {lab.number} ({lab.title}): can be built, but not run or graded in full"
    if not lab.names():
        return f"lab {lab.number} ({lab.title}): has no exercises yet"
    if not lab.labs.is_dir():
        return f"lab {lab.number} ({lab.title}): labs/{lab.dir} is not here: `make skeletons`"
    return f"lab {lab.number} ({lab.title}): ready"


def main():
    print(f"machine   {platform.machine()}, {os.cpu_count()} CPUs, {platform.system()} "
          f"{platform.release()}")
    print(f"python    {platform.python_version()}")
    for name, command in PROGRAMS:
        print(f"{name:9} {version(command) or 'not here'}")
    if shutil.which(driver.PROGRAM) and not driver.qboot():
        print(f"bios      {driver.QBOOT} is not here (Debian: qemu-system-data): SeaBIOS starts QEMU's kernels, and takes longer")
    print(f"kvm       {kvm.refusal() or 'VT-x for its guests: make qemu LAB=4 MACHINE=kvm'} "
          "(not needed: it only makes VT-x faster)")
    for name, where in engines():
        print(f"engine    {name}: {'on ' + where if where else 'no machine for it here'}")
    build, run, check = missing("build"), missing("run"), missing("check")
    old = sys.version_info < (3, 11)
    try:
        for number in lab_numbers():
            print(lab_line(load_lab(number), build or old, run))
    except CourseError as error:
        print(f"doctor: {error}", file=sys.stderr)
        return 1
    if old:
        print("python3 is too old: 3.11 or later")
    if build or run:
        print(run or build)
    elif check:
        print(f"for make check only: {check}")
    return 1 if build or run or old else 0


if __name__ == "__main__":
    sys.exit(trouble.plain(main))
