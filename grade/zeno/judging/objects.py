"""What the grader has compiled before, kept by content: a build compiles only what is new to it.

An object's name in the store is a hash of the commands, of the compilers, and of every file that it was compiled from:
the source and all headers, as the compiler named them. Times decide nothing, so that a file which was put back, or
unpacked over a newer one, is never taken for another. Guests and boot sectors are kept as one set in the same way.

Only builds without walls fill the store, and those make nothing but what compilers write. A build behind walls is given
objects of kern/, vmm/ and trials/ alone, as copies; nothing comes back from it.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

PLACE = Path("build", "grade", "objects")
OBJECTS = Path("build", "obj", "graded")
"""Where a scratch tree's objects lie; `make STORE=` is told so."""
THEIRS = ("labs/", "solutions/", "build/")
MOST = 1500
"""Files in the store; beyond that the oldest third goes."""


def dependencies(text):
    """The files of the first rule of what `-MMD` and `-MD` write."""
    rule = text.replace("\\\n", " ").split("\n", 1)[0]
    return rule.partition(": ")[2].split()


def tools(environment):
    """The compilers that a build in this environment meets, in words."""
    said = []
    for words in ([environment.get("CC") or environment.get("CROSS", "") + "gcc", "--version"], ["nasm", "-v"]):
        try:
            done = subprocess.run(words, env=environment, capture_output=True, check=False)
            said.append(done.stdout.split(b"\n")[0])
        except OSError:
            said.append(b"none")
    return said


class Hashes:
    """Hashes of a tree's files, each file looked at once."""

    read = {}
    """Of all trees, {path: (its status, hash)}. A file is read again if its status has changed: a change shows in st_ctime,
    which nobody can set."""

    def __init__(self, root):
        self.root = str(root)
        self.known, self.seen = {}, {}

    def status(self, name):
        """What the file's inode says, or None where it is not there."""
        if name not in self.seen:
            try:
                self.seen[name] = os.stat(os.path.join(self.root, name))
            except OSError:
                self.seen[name] = None
        return self.seen[name]

    def one(self, name):
        """The hash of a file, or None where it is not there."""
        if name not in self.known:
            self.known[name] = self._of(name)
        return self.known[name]

    def _of(self, name):
        status, path = self.status(name), os.path.join(self.root, name)
        if status is None:
            return None
        now = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        was, digest = self.read.get(path, (None, None))
        if was != now:
            try:
                digest = hashlib.sha256(Path(path).read_bytes()).digest()
            except OSError:
                return None
            self.read[path] = now, digest
        return digest

    def all(self, names, first=b""):
        """One name made of files' names and contents, or None if one of them is missing."""
        total = hashlib.sha256(first)
        for name in names:
            if (digest := self.one(name)) is None:
                return None
            total.update(name.encode() + b"\0" + digest)
        return total.hexdigest()[:32]

    def below(self, *places):
        """The files below these places, in order."""
        found = []
        for place in places:
            path = Path(self.root, place)
            files = [path] if path.is_file() else path.rglob("*")
            found += [str(one.relative_to(self.root)) for one in files if one.is_file()]
        return sorted(name for name in found if not name.endswith(".pyc"))


class Store:
    """The store of one work tree. Where it can't be written, nothing is kept and everything is compiled."""

    def __init__(self, root, environment):
        self.place = Path(root) / PLACE
        hashes = Hashes(root)
        self.key = hashes.all(hashes.below("Makefile", "mk"), b"\n".join(tools(environment))).encode()

    def lay(self, tree, walls):
        """Put objects into a scratch tree for all that would be compiled as it was before."""
        hashes = Hashes(tree)
        for listed in sorted(self.place.rglob("*.d")):
            source = str(listed.relative_to(self.place))[:-2]
            if walls and source.startswith(THEIRS) or not (tree / source).is_file():
                continue
            names = dependencies(listed.read_text(errors="replace"))
            digest = hashes.all(names, self.key)
            kept = digest and listed.with_name(f"{listed.name[:-2]}.{digest}.o")
            target = tree / OBJECTS / f"{source}.o"
            if not kept or not kept.is_file() or fresh(target, hashes, names):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(listed, target.with_suffix(".d"))
            shutil.copyfile(kept, target)
            with contextlib.suppress(OSError):
                os.utime(kept)

    def keep(self, tree, place=OBJECTS):
        """Take what a build without walls has compiled, in a scratch tree or, below another `place`, in the work tree."""
        hashes = Hashes(tree)
        with contextlib.suppress(OSError):
            for made in sorted((tree / place).rglob("*.o")):
                listed, source = made.with_suffix(".d"), str(made.relative_to(tree / place))[:-2]
                text = listed.read_text(errors="replace")
                names = dependencies(text)
                digest = hashes.all(names, self.key)
                kept = self.place / f"{source}.{digest}.o"
                if digest and not kept.is_file() and fresh(made, hashes, names):
                    copy_whole(made, kept)
                    write_whole(text.replace(f"{place}/", f"{OBJECTS}/", 1), self.place / f"{source}.d")
            self.prune()

    def prune(self):
        """Keep the store from growing for ever."""
        files = [path for path in self.place.rglob("*.o") if path.is_file()]
        if len(files) > MOST:
            for path in sorted(files, key=lambda path: path.stat().st_mtime)[:MOST // 3]:
                path.unlink(missing_ok=True)

    def guests(self, tree, out, build):
        """Guests and boot sectors below `out`: the kept ones, or what build() leaves in the scratch tree."""
        hashes = Hashes(tree)
        digest = hashes.all(hashes.below("guest", "boot", "inc", "tools/mkramdisk.py", *in_guests(tree)), self.key)
        kept = self.place / f"guests-{digest}"
        if kept.is_dir():
            with contextlib.suppress(OSError):
                shutil.copytree(kept, out, dirs_exist_ok=True)
                return
        build()
        take_guests(tree / "build", out)
        with contextlib.suppress(OSError):
            for old in sorted(self.place.glob("guests-*"), key=lambda path: path.stat().st_mtime)[:-3]:
                shutil.rmtree(old, ignore_errors=True)
            self.place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.place, prefix=".new-") as new:
                take_guests(tree / "build", Path(new, "set"))
                Path(new, "set").rename(kept)


def in_guests(tree):
    """The folders of labs whose files are parts of guests (mk/guests.mk): the reference's, or where that is not, the students'."""
    places = re.findall(r"^dir = \"(.+)\"$", "\n".join(text for path in sorted((tree / "grade" / "labs").glob("*.toml"))
                                                      if re.search("^guests = ", text := path.read_text(), re.M)), re.M)
    return [f"{'solutions' if (tree / 'solutions' / name).is_dir() else 'labs'}/{name}" for name in places]


def fresh(made, hashes, names):
    """True if an object is newer than all that it was made from: make would leave it alone."""
    try:
        when = os.stat(made).st_mtime_ns
    except OSError:
        return False
    return all((status := hashes.status(name)) and status.st_mtime_ns < when for name in names)


def copy_whole(source, target):
    """Copy a file so that nobody sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, half)
    half.replace(target)


def write_whole(text, target):
    """Write a file so that nobody sees half of it."""
    half = target.with_name(f".{target.name}.{os.getpid()}")
    half.write_text(text)
    half.replace(target)


def take_guests(made, out):
    """Copy guests and boot sectors out of a tree's build folder."""
    for kind in ("guest", "boot"):
        target = Path(out) / kind
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted((made / kind).glob("*")):
            if path.suffix in (".elf", ".bin"):
                shutil.copy2(path, target / path.name)
