#!/usr/bin/env python3
"""`make submit`: the same work is the same bytes, and nothing but the manifest's files is in it."""

import hashlib
import os
import shutil
import sys
import tarfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import Tree, finish, ok  # noqa: E402

C = "int\nf(void)\n{\n\t/* EXERCISE 5.1: a\n\t * until then: return 0;\n\t */\n\treturn 7;\n" \
    "\t/* END EXERCISE 5.1 */\n}\n"
HERE = "labs/5-made-up/"


def tree_of(path=None):
    tree = Tree(path)
    tree.lab(5, {"a.c": C, "answers.txt": "why =\n"}, version=3)
    tree.skeletons()
    return tree


def same_bytes():
    tree = tree_of()
    done = tree.tool("submit", "5")
    first = (tree.path / "zeno-lab5.tar").read_bytes()
    ok(done.status == 0 and hashlib.sha256(first).hexdigest() in done.out, "says what it made",
       out=done.out)
    os.utime(tree.path / HERE / "a.c", (1, 1))
    (tree.path / HERE / "a.c").chmod(0o600)
    time.sleep(1.1)
    tree.tool("submit", "5")
    ok(first == (tree.path / "zeno-lab5.tar").read_bytes(), "two runs, the same bytes")
    other = tree_of(tree.path.parent / "another tree")
    other.tool("submit", "5")
    ok(first == (other.path / "zeno-lab5.tar").read_bytes(), "in another folder, too")
    with tarfile.open(tree.path / "zeno-lab5.tar") as tar:
        members = tar.getmembers()
        manifest = tar.extractfile("zeno-lab5/MANIFEST").read().decode()
    ok([m.name for m in members]
       == ["zeno-lab5/MANIFEST", "zeno-lab5/a.c", "zeno-lab5/answers.txt"],
       "it holds the manifest's files alone", got=[m.name for m in members])
    ok(all(m.isreg() and m.uid == m.gid == m.mtime == 0 and m.mode == 0o644 for m in members),
       "without times and owners")
    data = (tree.path / HERE / "a.c").read_bytes()
    ok(f"sha256 {hashlib.sha256(data).hexdigest()} {len(data)} a.c\n" in manifest
       and "lab 5 " in manifest and "skeleton-version 3\n" in manifest,
       "MANIFEST has hashes and versions", got=manifest)
    tree.work("5-made-up/a.c", "return 0;", "return 1;")
    tree.tool("submit", "5")
    ok(first != (tree.path / "zeno-lab5.tar").read_bytes(), "other work, other bytes")


def refused():
    for name, break_it, words in (
            ("a missing file", lambda p: p.unlink(), "no such file"),
            ("a link", lambda p: (p.unlink(), os.symlink("/etc/passwd", p)), "symbolic link"),
            ("a folder", lambda p: (p.unlink(), p.mkdir()), "no regular file"),
            ("a pipe", lambda p: (p.unlink(), os.mkfifo(p)), "no regular file"),
            ("a huge file", lambda p: p.write_bytes(bytes((512 << 10) + 1)), "larger than"),
            ("a huge line", lambda p: p.write_bytes(b"int a;\n" + b" " * 4097), "a line of more than")):
        tree = tree_of()
        break_it(tree.path / HERE / "a.c")
        done = tree.tool("submit", "5")
        ok(done.status == 1 and f"{HERE}a.c:" in done.out and words in done.out
           and done.out.count("\n") == 1 and not (tree.path / "zeno-lab5.tar").exists(),
           f"refused in one line: {name}", out=done.out)
    tree = tree_of()
    for lab in ("9", "x", "5;id"):
        done = tree.tool("submit", lab)
        ok(done.status == 1 and "there are: 5" in done.out, f"refused: lab {lab}", out=done.out)
    (tree.path / HERE / "a b;touch pwned.c").write_text("x")
    (tree.path / HERE / "b.c").write_text("x")
    done = tree.tool("submit", "5")
    with tarfile.open(tree.path / "zeno-lab5.tar") as tar:
        ok(done.status == 0 and len(tar.getnames()) == 3, "other files stay at home")
    shutil.rmtree(tree.path / "labs")
    ok(tree.tool("submit", "5").status == 1, "refused: no labs/")


same_bytes()
refused()
finish()
