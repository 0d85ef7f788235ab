#!/usr/bin/env python3
"""The format of mutants, and that each fits the solutions. That they are caught, the grader shows."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, Tree, finish, folder, ok, run  # noqa: E402

sys.path.insert(0, str(TOOLS))
import mutants  # noqa: E402

C = """\
int
first(int x)
{
	/* EXERCISE 5.1: first.
	 * until then: return 0;
	 */
	x = one(x);
	x = two(x);
	return x;
	/* END EXERCISE 5.1 */
}

int
second(int x)
{
	/* EXERCISE 5.2: second.
	 * until then: return 0;
	 */
	x = one(x);
	x = two(x);
	return x + 1;
	/* END EXERCISE 5.2 */
}
"""
HEAD = """\
exercise: 5.2
symptom: (one|two) is wrong
hint: look at two
  and then at one
caught-by: hostile
"""
DIFF = """\
--- a/solutions/5-made-up/a.c
+++ b/solutions/5-made-up/a.c
@@ -19,3 +19,2 @@
 	x = one(x);
-	x = two(x);
 	return x + 1;
"""


def tree_of(text=HEAD + DIFF, name="5.2-left-out.patch"):
    tree = Tree()
    tree.lab(5, {"a.c": C})
    tree.write(f"grade/mutants/{name}", text)
    return tree


def good():
    tree = tree_of()
    one = mutants.load(tree.path / "grade/mutants/5.2-left-out.patch")
    ok((one.exercise, one.caught_by, one.lab) == ("5.2", "hostile", 5)
       and one.hint == "look at two and then at one", "a mutant is read", got=one)
    done = tree.tool("mutants", "check")
    ok(done.status == 0, "and fits", out=done.out)
    copy = folder() / "a copy"
    done = tree.tool("mutants", "tree", "5.2-left-out", copy)
    text = (copy / "solutions/5-made-up/a.c").read_text()
    ok(done.status == 0 and text.count("two(x)") == 1 and "two(x);\n\treturn x;" in text,
       "it is applied to a copy, in the right place", out=done.out, got=text)
    ok(tree.read("solutions/5-made-up/a.c") == C, "the work tree stays as it is")
    done = tree.tool("mutants", "apply", "5.2-left-out", tree.path)
    ok(done.status == 1 and "work tree" in done.out
       and tree.read("solutions/5-made-up/a.c") == C, "and can't be named as the copy", out=done.out)
    tree.write("solutions/5-made-up/a.c", "\n" * 40 + C)
    ok(tree.tool("mutants", "check").status == 0, "it still fits when the file has moved on")
    done = tree.tool("mutants", "list")
    ok(done.out == "5.2-left-out\n", "list names it", out=done.out)


BAD = [
    ("name", HEAD + DIFF, "wrong.patch", "is called"),
    ("other kind of file", HEAD + DIFF, "5.2-a.txt", "is called"),
    ("no symptom", HEAD.replace("symptom", "# symptom") + DIFF, None, "neither"),
    ("no hint", "exercise: 5.2\nsymptom: x\n" + DIFF, None, "`hint:` is missing"),
    ("exercise", HEAD.replace("exercise: 5.2", "exercise: 5.1") + DIFF, None, "disagree"),
    ("symptom", HEAD.replace("(one", "((one") + DIFF, None, "regular expression"),
    ("caught-by", HEAD.replace("hostile", "luck") + DIFF, None, "hostile"),
    ("no diff", HEAD, None, "no diff"),
    ("short hunk", HEAD + DIFF.replace("-19,3", "-19,5"), None, "fewer lines"),
    ("no change", HEAD + DIFF.replace("-\tx", " \tx").replace("+19,2", "+19,3"), None, "nothing"),
    ("does not fit", HEAD + DIFF.replace("two", "three"), None, "are not there"),
    ("other file", HEAD + DIFF.replace("solutions/5-made-up/a.c", "kern/a.c"), None, "belong here"),
    ("outside", HEAD + DIFF.replace("5-made-up/a.c", "../../x.c"), None, "belong here"),
    ("no such file", HEAD + DIFF.replace("a.c", "b.c"), None, "is not there"),
    ("scaffold", HEAD + "--- a/solutions/5-made-up/a.c\n+++ b/solutions/5-made-up/a.c\n"
     "@@ -14,1 +14,1 @@\n-second(int x)\n+third(int x)\n", None, "no region"),
    ("other exercise", HEAD + "--- a/solutions/5-made-up/a.c\n+++ b/solutions/5-made-up/a.c\n"
     "@@ -9,1 +9,1 @@\n-\treturn x;\n+\treturn y;\n", None, "no region of EXERCISE 5.2"),
]


def bad():
    for what, text, name, words in BAD:
        tree = tree_of(text, name or "5.2-left-out.patch")
        done = tree.tool("mutants", "check")
        ok(done.status == 1 and words in done.out and "Traceback" not in done.out,
           f"refused: {what}", out=done.out)
    done = tree_of().tool("mutants", "apply", "../../x", folder())
    ok(done.status == 1 and "there is no mutant" in done.out, "refused: a path as a name")


def killers():
    """Which test kills a mutant first is written down for each: it may not depend on a run's luck."""
    tree = tree_of()
    tree.write("grade/labs/5.toml", tree.read("grade/labs/5.toml") + '[[tests]]\nname = "left"\nexercise = "5.2"\n'
               '[[tests]]\nname = "right"\nexercise = "5.2"\n[[tests]]\nname = "boots"\nexercise = ""\n')
    for text, words in (("5.2-left-out left not right\n", ""), ("# nothing\n", "does not have it"), ("5.2-other left\n", "does not have it"),
                        ("5.2-left-out boots\n", "boots, which is no test of exercise 5.2"),
                        ("5.2-left-out left not boots\n", "boots, which is no test of exercise 5.2")):
        tree.write("grade/mutants/killers.txt", text)
        done = tree.tool("mutants", "check")
        ok(done.status == bool(words) and words in done.out, f"killers.txt: {words or 'complete'}", out=done.out)


def alike():
    """Two tests of an exercise that kill the same mutants are as good as one: some mutant must tell them apart."""
    tree = tree_of()
    tree.write("grade/mutants/5.2-more.patch", HEAD + DIFF)
    tree.write("grade/labs/5.toml", tree.read("grade/labs/5.toml") + "".join(
        f'[[tests]]\nname = "{name}"\nexercise = "5.2"\n' for name in ("left", "right")))
    for text, words in (("5.2-left-out left\n5.2-more left\n", "exercise 5.2: no mutant tells its tests apart"),
                        ("5.2-left-out left\n5.2-more right\n", ""), ("5.2-left-out left\n5.2-more left not right\n", "")):
        tree.write("grade/mutants/killers.txt", text)
        done = tree.tool("mutants", "check")
        ok(done.status == bool(words) and words in done.out, f"{text!r}: {words or 'the tests differ'}", out=done.out)
    tree.tool("mutants", "killers")
    ok(tree.read("grade/mutants/killers.txt").endswith("5.2-more left not right\n"), "what lets a mutant pass is kept")


def ours():
    done = run("python3", TOOLS / "mutants.py", "check", cwd=ROOT)
    ok(done.status == 0, "our own mutants fit our solutions", out=done.out)


good()
bad()
killers()
alike()
ours()
finish()
