#!/usr/bin/env python3
"""`make update`: a student's work gets into new skeletons, and none of it is ever lost."""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import Tree, finish, ok  # noqa: E402

C = """\
int before;

/* EXERCISE 5.0: room for your own. */
/* END EXERCISE 5.0 */

int
first(void)
{
	/* EXERCISE 5.1: first.
	 * until then: return 0;
	 */
	return reference_one();
	/* END EXERCISE 5.1 */
}

int
second(void)
{
	/* EXERCISE 5.2: second.
	 * until then: return 0;
	 */
	return reference_two();
	/* END EXERCISE 5.2 */
}
"""
TEXT = "# Questions.\nwhy =\n"
HERE = "labs/5-made-up/"


def tree_of(files, version=1):
    tree = Tree()
    tree.lab(5, files, version=version)
    tree.skeletons()
    return tree


def pair(new=C):
    """A student's tree with exercise 5.1 done, and a newer tree."""
    old = tree_of({"a.c": C, "answers.txt": TEXT})
    solve(old)
    fresh = tree_of({"a.c": new, "answers.txt": TEXT + "# One more.\nwhat =\n"}, version=2)
    return old, fresh


def solve(tree):
    tree.work("5-made-up/a.c", 'exercise_todo("5.1", "handouts/lab5.md#ex-5-1");\n\treturn 0;',
              "return my_own_work();")


def update(old, new):
    return new.tool("update", old.path)


def carried():
    old, new = pair(C.replace("int before;", "int before, and_more;"))
    old.work("5-made-up/a.c", "room for your own. */\n",
             "room for your own. */\nstatic int my_helper;\n")
    there = old.fingerprint("")
    done = update(old, new)
    text = new.read(HERE + "a.c")
    ok(done.status == 0 and "return my_own_work();" in text and "my_helper" in text,
       "regions are carried by their ids", out=done.out, got=text)
    ok("and_more" in text and 'exercise_todo("5.2"' in text,
       "the scaffold and the open exercise are the new tree's", got=text)
    ok("unplaced" not in "".join(new.fingerprint()), "nothing is left over", out=done.out)
    before = new.fingerprint()
    done = update(old, new)
    ok(done.status == 0 and before == new.fingerprint() and "nothing to carry" in done.out,
       "a second run changes nothing", out=done.out)
    ok(there == old.fingerprint(""), "the other tree is not touched")


def answers():
    old, new = pair()
    old.work("5-made-up/answers.txt", "why =", "why = because")
    update(old, new)
    ok("because" in new.read(HERE + "answers.txt"), "a text is the student's as a whole")
    new = pair()[1]
    new.work("5-made-up/answers.txt", "why =", "why = I don't know")
    done = update(old, new)
    ok("I don't know" in new.read(HERE + "answers.txt")
       and "because" in new.read(HERE + "unplaced-answers.txt.txt"),
       "and kept apart where this tree has answers of its own", out=done.out)


def conflict():
    old, new = pair()
    new.work("5-made-up/a.c", 'exercise_todo("5.1", "handouts/lab5.md#ex-5-1");\n\treturn 0;',
             "return other_work();")
    done = update(old, new)
    ok("return other_work();" in new.read(HERE + "a.c")
       and "my_own_work" in new.read(HERE + "unplaced-5.1.txt") and "unplaced-5.1.txt" in done.out,
       "work on both sides: nothing overwritten, the other kept beside it, and said", out=done.out)
    before = new.fingerprint()
    update(old, new)
    ok(before == new.fingerprint(), "a second run adds nothing to that")
    old.work("5-made-up/a.c", "my_own_work", "my_better_work")
    update(old, new)
    ok("my_own_work" in new.read(HERE + "unplaced-5.1.txt")
       and "my_better_work" in new.read(HERE + "unplaced-5.1-2.txt"),
       "later work gets a file of its own", got="\n".join(new.fingerprint()))


def gone():
    old, new = pair(C.replace("5.1", "5.9"))
    done = update(old, new)
    ok("my_own_work" in new.read(HERE + "unplaced-5.1.txt") and "has no place here" in done.out,
       "a region whose id is gone is kept apart", out=done.out)


def moved():
    old = tree_of({"a.c": C})
    solve(old)
    new = tree_of({"b.c": C, "a.c": "int nothing_left;\n"}, version=2)
    done = update(old, new)
    ok("my_own_work" in new.read(HERE + "b.c"), "a region is found where it moved to", out=done.out)
    new = tree_of({"c.c": C}, version=2)
    done = update(old, new)
    ok("my_own_work" in new.read(HERE + "c.c"), "also out of a file that is no more", out=done.out)


def scaffold():
    old, new = pair()
    old.work("5-made-up/a.c", "int before;", "int before = my_change;")
    done = update(old, new)
    ok("my_own_work" in new.read(HERE + "a.c") and "my_change" not in new.read(HERE + "a.c")
       and "my_change" in new.read(HERE + "unplaced-a.c.txt")
       and "outside of its regions" in done.out,
       "changes outside of regions are kept apart, regions carried all the same", out=done.out)


def broken():
    old, new = pair()
    old.work("5-made-up/a.c", "/* END EXERCISE 5.1 */", "")
    before = new.read(HERE + "a.c")
    done = update(old, new)
    ok(done.status == 0 and new.read(HERE + "a.c") == before
       and "my_own_work" in new.read(HERE + "unplaced-a.c.txt") and "a.c:" in done.out,
       "a file whose regions are broken is kept as a whole, with the place of what is wrong",
       out=done.out)
    old, new = pair()
    (old.path / HERE / "a.c").write_bytes(b"/* EXERCISE \xff\xfe\0 */" * 100)
    done = update(old, new)
    kept = new.path / HERE / "unplaced-a.c.txt"
    ok(done.status == 0 and kept.is_file() and b"\xff\xfe\0" in kept.read_bytes(),
       "bytes that are no text survive", out=done.out)


def no_sums():
    old, new = pair()
    (old.path / HERE / "skeleton.sums").unlink()
    done = update(old, new)
    ok("my_own_work" in new.read(HERE + "a.c") and 'exercise_todo("5.2"' in new.read(HERE + "a.c")
       and "5.2" not in done.out, "without the sums, an open exercise is known by its todo",
       out=done.out)
    old, new = pair()
    old.work("5-made-up/a.c", 'exercise_todo("5.2", "handouts/lab5.md#ex-5-2");\n\treturn 0;',
             'exercise_todo("5.2", "handouts/lab5.md#ex-5-2");\n\treturn half_done();')
    update(old, new)
    ok("half_done" in new.read(HERE + "a.c"), "with them, half-done work is carried, too")


def strange_trees():
    _, new = pair()
    for what, words in ((new.path, "this very tree"), ("", "FROM=dir"), ("/nonexistent", "no labs"),
                        (new.path / "tools", "no labs")):
        done = new.tool("update", what)
        ok(done.status == 1 and words in done.out and done.out.count("\n") == 1,
           f"refused in one line: {words}", out=done.out)
    old, new = pair()
    folder = old.path / "labs/5-made-up"
    os.symlink("/etc/passwd", folder / "link.c")
    (folder / "a.c").rename(old.path / "elsewhere.c")
    os.symlink("../../elsewhere.c", folder / "a.c")
    (folder / "x;touch pwned\n.c").write_text("x")
    os.mkfifo(folder / "fifo.c")
    before = new.fingerprint()
    done = update(old, new)
    ok(done.status == 0 and before == new.fingerprint() and "pwned\\n" in done.out,
       "links, pipes and odd names are named and left alone", out=done.out)
    shutil.rmtree(folder)
    ok(update(old, new).status == 0, "a tree without this lab has nothing to carry")
    spaced = new.path / "my old tree $(x)"
    old, _ = pair()
    shutil.copytree(old.path, spaced)
    done = new.tool("update", spaced)
    ok("my_own_work" in new.read(HERE + "a.c"), "a path with spaces does", out=done.out)


for group in (carried, answers, conflict, gone, moved, scaffold, broken, no_sums, strange_trees):
    group()
finish()
