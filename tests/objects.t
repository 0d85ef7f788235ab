#!/usr/bin/env python3
"""The grader's store of objects: what was compiled before is not compiled again, and nothing else is taken for it."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "lib"), str(ROOT / "grade")]
sys.dont_write_bytecode = True

from harness import finish, folder, ok, skip  # noqa: E402
from zeno.judging import build, course, headers, objects, official, sandbox  # noqa: E402

LONG_AGO = 1_000_000_000


def copy():
    """The work tree's files, elsewhere: its store is empty."""
    there = folder() / "tree"
    names = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True,
                           check=True).stdout.decode().split("\0")
    for name in names:
        if name and (ROOT / name).is_file() and not name.startswith(("solutions/", "tests/", "grade/mutants/")):
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, there / name)
    return there


def built(root, lab, files):
    """(image, log) of a build of lab 0 in a scratch tree of its own."""
    tree = build.Tree(lab, root=root)
    try:
        image = tree.build(files, folder() / "image")
        return image.mb.read_bytes() if image.ok else None, image.log
    finally:
        tree.remove()


def compiled(log):
    """What a log says was compiled."""
    return {line.split()[1] for line in log.split("\n") if line.startswith(("cc ", "nasm "))}


def change(path, old, new):
    """Edit a file so that its time says nothing: as if it were older than all."""
    path.write_text(path.read_text().replace(old, new))
    os.utime(path, (LONG_AGO, LONG_AGO))


def at_home(root, lab, files):
    """Builds without walls."""
    first, log = built(root, lab, files)
    ok(first and "kern/printf.c" in compiled(log), "the first build compiles the kernel", log=log)
    again, log = built(root, lab, files)
    ok(again == first and not compiled(log), "the second one compiles nothing, and makes the same image", log=log)
    edited = files | {"commands.c": files["commands.c"] + b"\nint objects_test = 1;\n"}
    image, log = built(root, lab, edited)
    ok(image and image != first and compiled(log) == {"labs/0-boot/commands.c"}, "one file edited: one file compiled",
       log=log)
    image, log = built(root, lab, files)
    ok(image == first and not compiled(log), "the edit taken back: the image from before", log=log)
    change(root / "kern" / "kern.h", "#pragma once", "#pragma once\n#define OBJECTS_TEST 1")
    image, log = built(root, lab, files)
    ok(image and {"kern/printf.c", "labs/0-boot/commands.c"} <= compiled(log) and "kern/boot/entry.asm" not in compiled(log),
       "a changed header builds again what includes it, and nothing else, however old it looks", log=log)
    change(root / "mk" / "kernel.mk", "-mno-red-zone", "-mno-red-zone -DOBJECTS_TEST_FLAG")
    image, log = built(root, lab, files)
    ok(image and "kern/main.c" in compiled(log), "other flags build all again", log=sorted(compiled(log)))


def from_make(root, lab, files):
    """What make has compiled in the work tree, as `make check` hands it to the grader."""
    change(root / "mk" / "kernel.mk", "-DOBJECTS_TEST_FLAG", "-DOBJECTS_TEST_AGAIN")
    clean = {name: word for name, word in os.environ.items() if name in ("PATH", "HOME", "CC", "CROSS", "CCACHE_DIR")}
    for words in (["make", "-s", "-j2", f"LAB={lab.number}", "build"], ["sh", "-c", "python3 tools/keep_objects.py $(ls -td build/obj/*)"]):
        done = subprocess.run(words, cwd=root, env=clean, capture_output=True, text=True, check=False)
        ok(done.returncode == 0, " ".join(words[:2]), out=done.stdout + done.stderr)
    image, log = built(root, lab, files)
    ok(image == (root / f"build/lab{lab.number}/zeno.mb").read_bytes() and not compiled(log),
       "what make compiled is not compiled again, and the image is make's", log=log)
    tree = build.Tree(lab, root=root)
    tree.build(files, folder() / "image")
    change(tree.path / "kern" / "kern.h", "OBJECTS_TEST 1", "OBJECTS_TEST 2")
    (tree.path / "kern" / "kern.h").touch()
    log = tree.build(files, folder() / "image").log
    tree.remove()
    ok({"kern/printf.c", "labs/0-boot/commands.c"} <= compiled(log) and "kern/boot/entry.asm" not in compiled(log),
       "and a header that changes in the scratch tree is seen there", log=log)


def behind_walls(root, lab, files):
    """A submission gets the kernel's objects, no lab's, and leaves none."""
    walls = sandbox.Sandbox(hide=[ROOT])
    if os.geteuid() != 0:
        skip("builds behind walls", walls.gaps[0])
        return
    built(root, lab, files)
    shop = official.Workshop(lab, folder() / "out", root=root, walls=walls)
    store = root / objects.PLACE
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    evil = files | {"commands.c": files["commands.c"] + b"\nint evil = 1;\n"}
    image = shop.tree.build(evil, folder() / "image")
    shop.close()
    labs = {f"labs/{lab.dir}/{name}" for name in lab.handed_in if name.endswith((".c", ".asm"))}
    ok(image.ok and compiled(image.log) == labs, "a submission's build compiles the lab's files alone, all of them",
       expected=labs, log=image.log)
    after = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    ok(before == after and before, "and the store is as it was")


def numbers(root):
    """What the compiler said of the headers, as graders keep it."""
    ask = "import sys; sys.path.insert(0, sys.argv[1]); from zeno.judging import headers; " \
        "print(headers.numbers(('kern/map.h', 'kern/frame.h'), ('DIRECT_MAP', 'FRAME_TEST'), sys.argv[2]))"

    def asked():
        return subprocess.run([sys.executable, "-c", ask, ROOT / "grade", root], capture_output=True, text=True,
                              check=False).stdout

    header = root / "kern" / "frame.h"
    change(header, "#pragma once", "#pragma once\n#define FRAME_TEST 7")
    first = asked()
    ok(first.endswith(" 7]\n"), "the compiler tells numbers of the headers", got=first)
    kept = list((root / headers.PLACE).glob("*/*"))
    ok(len(kept) == 1 and asked() == first, "they are kept", kept=kept)
    kept[0].write_text("[1, 2]")
    ok(asked() == "[1, 2]\n", "and not asked for again", got=asked())
    kept[0].write_text("[1")
    ok(asked() == first, "half an answer is none", got=asked())
    change(header, "FRAME_TEST 7", "FRAME_TEST 8")
    ok(asked() == first.replace("7]", "8]"), "a changed header is asked anew, however old it looks", got=asked())


def places():
    """Where scratch trees lie: in memory, where nobody wants them elsewhere and there is room."""
    wanted = os.environ.pop("TMPDIR", None)
    memory, full = folder(), build.MEMORY_FREE
    try:
        build.MEMORY_FREE = 0
        ok(build.place_of_trees(memory) == str(memory), "a scratch tree lies in memory")
        ok(build.place_of_trees(memory / "none") == tempfile.gettempdir(), "unless there is no such place")
        build.MEMORY_FREE = 1 << 62
        ok(build.place_of_trees(memory) == tempfile.gettempdir(), "or no room in it")
        build.MEMORY_FREE, os.environ["TMPDIR"] = 0, "/somewhere"
        ok(build.place_of_trees(memory) == tempfile.gettempdir(), "or TMPDIR names another")
    finally:
        build.MEMORY_FREE = full
        os.environ.pop("TMPDIR")
        if wanted:
            os.environ["TMPDIR"] = wanted


def main():
    """Lab 0, in a tree of its own."""
    places()
    lab, root = course.load("0"), copy()
    files = build.take_folder(ROOT / "labs" / lab.dir, lab)
    at_home(root, lab, files)
    from_make(root, lab, files)
    behind_walls(root, lab, files)
    numbers(root)
    finish()


main()
