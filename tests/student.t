#!/usr/bin/env python3
"""`make student`: an export without history and without a line of the solutions."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, Tree, finish, folder, ok, run  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.judging import build, course  # noqa: E402

C = """\
int
first(int x)
{
	/* EXERCISE 5.1: first.
	 * until then: return shown_on_purpose(x);
	 */
	int y = a_very_telling_line(x);

	if (y == another_telling_value)
		return -EINVAL;
	return shown_on_purpose(x);
	/* END EXERCISE 5.1 */
}
"""
MUTANT = """\
exercise: 5.1
symptom: the domain ended with 7
hint: look at what comes first
--- a/solutions/5-made-up/a.c
+++ b/solutions/5-made-up/a.c
@@ -9,1 +9,1 @@
-	if (y == another_telling_value)
+	if (y != another_telling_value)
"""


BEING_MADE = """\
lab = 9
title = "Being made"
version = 1
dir = "9-being-made"
needs = ["5"]
files = []
sources = ["kern"]
handout = "handouts/lab9.md"
"""
"""It has rooms, and no file yet, so that git has no solutions/9-being-made."""


def tree_of():
    tree = Tree()
    tree.lab(5, {"a.c": C, "answers.txt": "why =\n"})
    tree.write("grade/labs/9.toml", BEING_MADE)
    tree.write("course.toml", 'given = []\n[export]\nleave_out = ["grade/mutants", "tests/*.t", '
                              '"guest/hidden-*", "course.toml"]\n')
    tree.write("grade/mutants/5.1-turned.patch", MUTANT)
    tree.write("tests/all.t", "secret test\n")
    tree.write("README.md", "make demo\n")
    tree.write("tools/student-readme.md", "make qemu\n")
    tree.write("tests/unit/x.c", "int x;\n")
    tree.write("guest/hidden-one/main.c", "int hidden;\n")
    tree.write("kern/kernel.c", "int kernel;\n\treturn -EINVAL;\n\tint y = a_very_telling_line(x);\n")
    tree.write("odd name $(x).txt", "odd\n")
    tree.skeletons()
    for words in (["init", "-q"], ["add", "-A"],
                  ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=tree.path, check=True)
    return tree


def names(out):
    return sorted(str(p.relative_to(out)) for p in out.rglob("*")
                  if p.is_file() and p.relative_to(out).parts[0] != ".git")


def good():
    tree = tree_of()
    tree.work("5-made-up/a.c", "exercise_todo", "somebody's attempt; exercise_todo")
    tree.write("scratch-note.txt", "not committed yet\n")
    out = tree.path.parent / "the export"
    done = tree.tool("student", out)
    if not ok(done.status == 0, "exports", out=done.out):
        return
    have = names(out)
    ok(not (out / "labs/9-being-made").exists(), "nothing of a lab that has no file yet", got=have)
    ok(not any(n.startswith(("solutions", "grade/mutants", "guest/hidden", "course.toml"))
               or n.endswith(".t") for n in have), "without what is to stay at home", got=have)
    ok("tests/unit/x.c" in have and "odd name $(x).txt" in have and "labs/5-made-up/a.c" in have
       and "labs/5-made-up/skeleton.sums" in have, "with all else, odd names included", got=have)
    ok((out / "README.md").read_text() == "make qemu\n" and "tools/student-readme.md" not in have,
       "with the students' README", got=(out / "README.md").read_text())
    text = (out / "labs/5-made-up/a.c").read_text()
    ok("attempt" not in text and "exercise_todo" in text and "shown_on_purpose" in text,
       "labs/ is fresh, whatever somebody did there", got=text)
    hints = (out / "grade/hints/lab5.toml").read_text()
    ok("the domain ended with 7" in hints and "another_telling" not in hints,
       "of a mutant it has symptom and hint, not the patch", got=hints)
    log = run("git", "log", "--format=%an %s", cwd=out).out
    ok(log == "Zeno Zeno: the labs\n", "one commit and no history", got=log)
    ok(run("git", "status", "--porcelain", cwd=out).out == "", "and all is in it")
    again = tree.tool("student", out)
    ok(again.status == 1 and "not empty" in again.out and names(out) == have,
       "a folder that holds something is left alone", out=again.out)
    done = run("python3", out / "tools/skeletons.py", cwd=out)
    ok(done.status == 1 and "solutions/ is not here" in done.out,
       "in it, make skeletons has nothing to do", out=done.out)
    done = run("python3", out / "tools/labinfo.py", "make", "--lab", "5", cwd=out)
    ok(done.status == 0, "in it, the lab can be built", out=done.out)


LEAKS = [
    ("in a handout", "handouts/lab5.md", "see:\n\n    int y = a_very_telling_line(x);\n"),
    ("as GDB shows it at a stop", "handouts/lab5.md", "(gdb) continue\n30\t\tint y = a_very_telling_line(x);\n"),
    ("as GDB lists it", "handouts/lab5.md", "30     \tif (y == another_telling_value)\n"),
    ("as grep finds it", "notes.txt", "x/y.c:12:\tif (y == another_telling_value)\n"),
    ("as a quotation", "handouts/lab5.md", "> if (y == another_telling_value)\n"),
    ("in a patch", "grade/other.patch", "-\tif (y == another_telling_value)\n"),
    ("with other white space", "notes.txt", "if (y  ==\tanother_telling_value)   \n"),
    ("in the skeletons of another lab", "labs/x/y.c", "\tint y = a_very_telling_line(x);\n"),
    ("as a run of lines in the kernel", "kern/copy.c",
     "\tint y = a_very_telling_line(x);\n\n\tif (y == another_telling_value)\n\t\treturn -EINVAL;\n"),
]


def leaky():
    tree = tree_of()
    sys.path.insert(0, str(tree.path / "tools"))
    import leaks
    secrets = leaks.Secrets(tree.path)
    ok(set(secrets.telling) == {"int y = a_very_telling_line(x);",
                                "if (y == another_telling_value)"},
       "what tells: long lines of bodies that are not shown on purpose", got=secrets.telling)
    for name, path, text in LEAKS:
        place = tree.write(path, text)
        if path.startswith("labs/"):
            found = secrets.in_text(text)
            ok(found, f"a leak is seen {name}", got=found)
        else:
            out = folder() / "out"
            done = tree.tool("student", out)
            ok(done.status == 1 and path in done.out and not out.exists(),
               f"no export with a leak {name}", out=done.out)
        place.unlink()
    out = folder() / "out"
    ok(tree.tool("student", out).status == 0, "and one when the leaks are gone")


def refused():
    tree = tree_of()
    done = tree.tool("student", "")
    ok(done.status == 1 and "OUT=dir" in done.out, "wants to know where to", out=done.out)
    shutil.rmtree(tree.path / "solutions")
    done = tree.tool("student", folder() / "out")
    ok(done.status == 1 and "solutions/ is not here" in done.out, "wants the solutions",
       out=done.out)


def the_real_one():
    """This very tree: no line of a solution, and it builds and knows its labs."""
    out = folder() / "zeno for students"
    done = run("make", "student", f"OUT={out}", cwd=ROOT)
    if not ok(done.status == 0, "this tree can be exported", out=done.out):
        return
    have = names(out)
    bad = [n for n in have if n.startswith(("solutions/", "grade/mutants", "grade/keys",
                                            "tests/cheats", "notes"))]
    ok(not bad, "it holds no solutions, mutants, keys, cheats", got=bad)
    done = run("python3", TOOLS / "leaks.py", out, cwd=ROOT)
    ok(done.status == 0, "no line from inside of a region occurs in it", out=done.out)
    tree = build.Tree(course.load("9A", out), root=out)
    ends = [end.name for end in (out / build.ENDS).iterdir()]
    ok(sorted(ends) == ["dom0.elf", "pv-disk.elf", "pv-net.elf"] and not (tree.path / build.ENDS).exists(),
       "it has the reference's ends, compiled, and what is graded is not built beside them", got=ends)
    tree.remove()
    for lab in (0, 1):
        done = run("make", "-j2", f"LAB={lab}", cwd=out)
        ok(done.status == 0 and (out / f"build/lab{lab}/zeno.mb").is_file(),
           f"make LAB={lab} works in it", out=done.out[-2000:])
    done = run("make", "-n", "unit", cwd=out)
    ok(done.status == 0 and "tests/unit/decode" in done.out, "make unit has all that it is made of", out=done.out[-900:])
    without = [page.name for page in sorted((out / "handouts").glob("*.md")) if "the course's own tree" not in " ".join(page.read_text().split())
               and not all((out / name).exists() for name in re.findall(r"`(tests/[\w./-]+?)`", page.read_text()))]
    ok(not without, "a page that names tests which are not here says where they are", got=without)
    words = (out / "README.md").read_text()
    absent = [w for w in re.findall(r"\]\(([^)#]+)\)|`((?:handouts|labs|tools|tests|kern|guest)/[^`]*)`", words)
              if not (out / (w[0] or w[1])).exists()]
    ok("make demo" not in words and "make student" not in words and not absent,
       "its README tells of what a student has", absent=absent)
    done = run("make", "help", cwd=out)
    ok("make grade" in done.out and "make demo" not in done.out and "skeletons" not in done.out,
       "make help lists what a student can do", out=done.out)
    done = run("make", "student", f"OUT={folder() / 'again'}", cwd=out)
    ok(done.status and "solutions/ is not here" in done.out, "it can't be exported again", out=done.out)
    done = run("make", "submit", "LAB=0", cwd=out)
    ok(done.status == 0 and (out / "zeno-lab0.tar").is_file(), "make submit works in it",
       out=done.out)
    ok(run("git", "status", "--porcelain", cwd=out).out == "", "and nothing of that is committed",
       out=run("git", "status", "--porcelain", cwd=out).out)


good()
leaky()
refused()
if (ROOT / "solutions").is_dir():
    the_real_one()
finish()
