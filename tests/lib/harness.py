"""TAP, scratch folders and made-up course trees for the tests of the tools."""

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / "tools"
sys.path.append(str(TOOLS))
# A shell ignores Ctrl-C for what it starts with `&`, and so would all that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

_count = 0
_bad = 0
_folders = []
_lock = threading.Lock()


def ok(holds, what, cached=False, **details):
    """One TAP line; the details are printed where it does not hold. `cached`: it was found before, and kept."""
    global _count, _bad
    with _lock:
        _count += 1
        _bad += not holds
        print(f"{'ok' if holds else 'not ok'} {_count} - {what.replace('#', '')}{' # cached' if cached else ''}",
              flush=True)
        if not holds:
            for key, value in details.items():
                for line in str(value).split("\n"):
                    print(f"# {key}: {line}", flush=True)
    return holds


def skip(what, why):
    """A test that can't be made here: it counts as neither."""
    global _count
    _count += 1
    print(f"ok {_count} - {what} # SKIP {why}", flush=True)


def _unbuilt(text=""):
    """Files of the build that were wanted and are not there: those that machines were to boot, and those that a text names."""
    live = sys.modules.get("zeno.machines.live")
    named = re.findall(rf"{re.escape(str(ROOT / 'build'))}/[\w./-]*\w", text)
    return [Path(one) for one in dict.fromkeys([*(live.LOST if live else ()), *named])
            if Path(one).is_relative_to(ROOT / "build") and not Path(one).exists()]


def _tell_unbuilt(files):
    """A line for each file, with the command that builds it."""
    for one in files:
        lab = re.match(r"lab(\w+?)-solution/", str(one.relative_to(ROOT / "build")))
        command = f"make LAB={lab[1]} SOLUTION=1" if lab else "make guests boot" if one.parent.name in ("guest", "boot") else "make check"
        print(f"# {one.relative_to(ROOT)} is not built: {command}", flush=True)


def _uncaught(kind, error, trace):
    """A test that can't go on: where it wants a file that is not built, a traceback would say nothing of that."""
    files = _unbuilt(str(error))
    if not files:
        sys.__excepthook__(kind, error, trace)
        return
    ok(False, "what it needs is built")
    _tell_unbuilt(files)
    print(f"1..{_count}")


sys.excepthook = _uncaught


def finish():
    """The plan, and the exit status."""
    if _bad:
        _tell_unbuilt(_unbuilt())
    print(f"1..{_count}")
    sys.exit(1 if _bad or not _count else 0)


def folder():
    """A scratch folder that is gone when the test ends."""
    path = Path(tempfile.mkdtemp(prefix="zeno-test-"))
    _folders.append(path)
    return path


@atexit.register
def _remove():
    for path in _folders:
        shutil.rmtree(path, ignore_errors=True)


def run(*words, cwd=None, env=None, **more):
    """Run a program; the result has out (both streams) and status."""
    clean = {k: v for k, v in os.environ.items()
             if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "LAB", "REF", "SOLUTION", "WERROR", "CC",
                          "VARIANT", "MAKEOVERRIDES")}
    clean["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run([str(w) for w in words], cwd=cwd, env={**clean, **(env or {})},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
                          **more)
    done.out = done.stdout
    done.status = done.returncode
    return done


def disk_image(kernel, cmdline="", modules=()):
    """A disk image that Zeno's own loader boots, for Bochs. Modules are (path, words): their names come first there."""
    import mkimage
    boot, image = ROOT / "build/boot", folder() / "disk.img"
    image.write_bytes(mkimage.make(kernel, cmdline, list(modules), boot / "mbr.bin", boot / "loader.bin"))
    return image


LAB = """lab = {key}
title = "Made up"
version = {version}
dir = "{number}-made-up"
needs = {needs}
sources = []
files = {files}
handout = "handouts/lab{number}.md"
"""


class Tree:
    """A course tree of its own: our tools, and the labs that a test writes into it."""

    def __init__(self, path=None):
        self.path = path or folder() / "tree"
        self.path.mkdir(parents=True, exist_ok=True)
        shutil.copytree(TOOLS, self.path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        self.write("course.toml", 'given = []\n[export]\nleave_out = ["course.toml"]\n')

    @classmethod
    def of(cls, path):
        """A tree that is there already."""
        tree = cls.__new__(cls)
        tree.path = path
        return tree

    def write(self, name, text):
        """Write a file of the tree."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, name):
        """A file's text."""
        return (self.path / name).read_text()

    def lab(self, number, files, needs=(), version=1, halves=None, exercises=()):
        """Make a lab: {name: text of the solution}; halves as {letter: (files, needs)}, exercises as
        (id, half)."""
        text = LAB.format(number=number, key=json.dumps(number), version=version, needs=json.dumps([str(n) for n in needs]),
                          files=json.dumps(list(files)))
        for letter, (names, wants) in (halves or {}).items():
            text += (f'[halves.{letter}]\ntitle = "Half {letter}"\nhandout = "handouts/lab{number}{letter}.md"\n'
                     f"files = {json.dumps(names)}\nneeds = {json.dumps(wants)}\n")
        for ident, half in exercises:
            text += f'[[exercises]]\nid = "{ident}"\nhalf = "{half}"\n'
        self.write(f"grade/labs/{number}.toml", text)
        for name, text in files.items():
            self.write(f"solutions/{number}-made-up/{name}", text)

    def tool(self, name, *words):
        """Run one of the tools in this tree."""
        return run("/usr/bin/env", "python3", self.path / "tools" / f"{name}.py", *words,
                   cwd=self.path)

    def skeletons(self, *words):
        """Run the generator; it has to work."""
        done = self.tool("skeletons", *words)
        if done.status:
            raise AssertionError(done.out)
        return done

    def work(self, name, old, new):
        """Be a student: change some text of a file in labs/."""
        path = self.path / "labs" / name
        text = path.read_text()
        assert old in text, (name, old, text)
        path.write_text(text.replace(old, new, 1))

    def fingerprint(self, place="labs"):
        """Every file below a folder with its bytes, to see that nothing changed."""
        return {str(p.relative_to(self.path)): p.read_bytes()
                for p in sorted((self.path / place).rglob("*")) if p.is_file()}
