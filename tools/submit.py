#!/usr/bin/env python3
"""Pack what a student hands in for a lab: `submit.py 1A` writes zeno-lab1A.tar.

The archive holds the files that the lab's (or the half's) manifest names and a MANIFEST with the lab's version and a
SHA-256 of each, and nothing else. The same files give the same bytes: no times, no owners, a fixed
order. How many hints were opened is told, as long as .hints is there. What is no regular file is refused, and so is what is too large to be an exercise.
"""

import argparse
import hashlib
import io
import os
import stat
import sys
import tarfile
from pathlib import Path

import hint
import trouble
from course import ROOT, CourseError, parse_lab
from skeletons import read_sums

FORMAT = 1
CAP = 512 << 10
"""Bytes of one file. The grader takes no more either."""
LINE_CAP = 4096
"""... and characters of a line."""


def take(path, shown):
    """The bytes of a regular file that is not too large. Never follows a link."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        reason = "is a symbolic link" if path.is_symlink() else (error.strerror or "?").lower()
        raise CourseError(f"{shown}: {reason}; nothing was packed") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise CourseError(f"{shown}: no regular file; nothing was packed")
    with os.fdopen(fd, "rb") as file:
        data = file.read(CAP + 1)
    if len(data) > CAP:
        raise CourseError(f"{shown}: larger than {CAP >> 10} KiB; nothing was packed")
    for number, line in enumerate(data.splitlines(), 1):
        if len(line) > LINE_CAP:
            raise CourseError(f"{shown}:{number}: a line of more than {LINE_CAP} characters; nothing was packed")
    return data


def manifest(lab, files):
    """The text of MANIFEST: format, lab, versions, then a hash, a length and a name per line."""
    version = read_sums(lab.labs)[1] or str(lab.version)
    lines = [f"zeno-submission {FORMAT}", f"lab {lab.name} {lab.dir}",
             f"skeleton-version {version}", f"tree-version {lab.version}"]
    lines += [f"hints {exercise} {count}" for exercise, count in hint.counts(lab.root, lab).items()]
    for name, data in sorted(files.items()):
        lines.append(f"sha256 {hashlib.sha256(data).hexdigest()} {len(data)} {name}")
    return "\n".join(lines) + "\n"


def pack(lab, files):
    """The bytes of the archive."""
    out = io.BytesIO()
    members = {"MANIFEST": manifest(lab, files).encode(), **files}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ["MANIFEST", *sorted(files)]:
            info = tarfile.TarInfo(f"zeno-lab{lab.name}/{name}")
            info.size = len(members[name])
            info.mode = 0o644
            tar.addfile(info, io.BytesIO(members[name]))
    return out.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lab")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args()
    root = args.root.resolve()
    try:
        lab = parse_lab(args.lab, root)
        if not lab.files:
            raise CourseError(f"grade/labs/{lab.number}.toml names no files")
        files = {name: take(lab.labs / name, f"labs/{lab.dir}/{name}") for name in lab.handed_in}
    except CourseError as error:
        print(f"submit: {error}", file=sys.stderr)
        return 1
    data = pack(lab, files)
    path = root / f"zeno-lab{lab.name}.tar"
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    new.write_bytes(data)
    new.replace(path)
    print(f"{path.name}: {len(files)} files, sha256 {hashlib.sha256(data).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
