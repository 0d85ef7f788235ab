"""Verdicts of `make check`, kept by content: what was judged before is not judged again.

A verdict's name is a hash of all that it can depend on: the kernel's image and its symbols, the answers, the guests, the
checks and the grader itself, the machines' versions, the lab's data file, the test, and the seed. Only a pass or a
failure is kept. So the references, which several tests grade, are graded once for each image, and a mutant once for each
mistake.

A whole lab's seed comes from the image: other code is tried with another seed, the same code finds what is kept. ZENO_ALL=1
(`make check-all`) goes without all of this, and with seeds that nobody has tried. Students' work never comes here:
grade/grade and grade/official keep no verdict.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import random
from pathlib import Path

from ..machines import machine
from . import attempt
from .tools import GRADE, ROOT, tool
from .objects import Hashes

PLACE = Path("build", "grade", "verdicts")
ALL = bool(os.environ.get("ZENO_ALL"))
MOST = 20_000
"""Files; beyond that the oldest third goes."""
JUDGES = ("checks", "zeno", "plugin", "linked", "labs", "machines.toml")


def judges():
    """A hash of everything that judges, apart from the machines."""
    hashes = Hashes(GRADE)
    return hashes.all(hashes.below(*JUDGES)) + Hashes(ROOT).all(["tools/mkimage.py"])


def all_cached(verdicts):
    """True if nothing had to be run for these."""
    return all(verdict.cached or verdict.verdict == "skip" for verdict in verdicts)


class Kept:
    """The verdicts of one work tree."""

    def __init__(self, root=ROOT, use=not ALL):
        self.place = Path(root) / PLACE
        self.use = use
        self.judges = judges()
        self.guests = {}
        self.linux = tool("linux_guest").LINUX_64.place / "version"
        self.versions = {name: machine.version(name) for name in machine.machine_names()
                         if machine.missing(name) is None}

    def image(self, image):
        """An image's name: what runs, and where things are in it."""
        if image.name is None:
            image.name = self._name(image)
        return image.name

    def _name(self, image):
        total = hashlib.sha256(image.mb.read_bytes())
        total.update(repr(sorted(image.symbols.by_name.items())).encode())
        if image.guests not in self.guests:
            hashes = Hashes(image.guests.parent)
            self.guests[image.guests] = hashes.all(hashes.below("guest", "boot"))
        total.update(self.guests[image.guests].encode())
        for path in sorted(image.own.glob("*.elf")) if image.own else ():
            total.update(path.read_bytes())
        for name, data in sorted(image.files.items()):
            if not name.endswith((".c", ".asm", ".h")):  # answers.txt: nothing of it is in the kernel
                total.update(name.encode() + b"\0" + data)
        return total.hexdigest()[:32]

    def seed(self, name):
        """The seed for an image: its own, or in `make check-all` any."""
        return int(name[:8], 16) if self.use else random.SystemRandom().randrange(1 << 32)

    def _path(self, name, test, seed):
        linux = [self.linux.read_text()] if test.reward and self.linux.is_file() else []  # a reward's guest is Debian's
        words = json.dumps([name, self.judges, self.versions, test.name, seed, *linux]).encode()
        return self.place / f"{hashlib.sha256(words).hexdigest()[:32]}.json"

    def find(self, name, test, seed):
        """The kept verdict on a test, or None."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            if self.use:
                path = self._path(name, test, seed)
                verdict = attempt.Verdict(**json.loads(path.read_text()))
                os.utime(path)
                return dataclasses.replace(verdict, cached=True)
        return None

    def keep(self, name, test, seed, verdict):
        """Keep a verdict that says something of the code."""
        if not self.use or verdict.cached or verdict.verdict not in ("pass", "fail"):
            return
        with contextlib.suppress(OSError):
            self._write(self._path(name, test, seed), json.dumps(vars(verdict)))

    # -- images by what they are made of -----------------------------------------------------------

    def built(self, sources):
        """The name of the image that sources with this hash became, or None: then it must be built."""
        with contextlib.suppress(OSError):
            if self.use:
                return (self.place / f"{sources}.image").read_text()
        return None

    def note(self, sources, name):
        """Remember what image sources become."""
        with contextlib.suppress(OSError):
            if self.use:
                self._write(self.place / f"{sources}.image", name)

    def _write(self, path, text):
        new = not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{path.name}.{os.getpid()}.{random.getrandbits(32):x}")
        half.write_text(text)
        half.replace(path)
        if new and random.random() < 0.01:
            self.prune()

    def prune(self):
        """Keep it from growing for ever."""
        files = list(self.place.iterdir())
        if len(files) > MOST:
            for path in sorted(files, key=lambda path: path.stat().st_mtime)[:MOST // 3]:
                path.unlink(missing_ok=True)
