"""What emulators load of ours (grade/plugin, grade/linked), compiled when it is missing or older than its source."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

GRADE = Path(__file__).resolve().parent.parent.parent
TREE = GRADE.parent
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fPIC", "-shared", "-fvisibility=hidden"]

_built = {}


def built(name):
    """The path of the library made from grade/NAME.c, or None: there is no C compiler, or it does not take it."""
    if name in _built and _built[name].exists():
        return _built[name]
    source = GRADE / f"{name}.c"
    # The Makefile's own place first, then one where a read-only tree does not matter.
    for directory in (TREE / "build", Path(tempfile.gettempdir()) / f"zeno-{os.getuid()}"):
        target = directory / f"{source.stem}.so"
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime or _build(source, target):
            _built[name] = target
            return target
    return None


def _build(source, target):
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if not compiler:
        return False
    try:
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Built beside its place and renamed: parallel runs never load half a file.
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            new = Path(scratch) / target.name
            done = subprocess.run([compiler, *FLAGS, "-o", str(new), str(source)],
                                  stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if done.returncode != 0:
                return False
            os.replace(new, target)
    except OSError:
        return False
    return True
