#!/usr/bin/env python3
"""Regions, the skeletons made from them, and which sources a build takes."""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, Tree, finish, folder, ok, run  # noqa: E402

sys.path.insert(0, str(TOOLS))
import region  # noqa: E402

ALPHA = """\
#include <kern/kern.h>

/* EXERCISE 5.0: room for your own. */
#define SECRET_HELPER 42
/* END EXERCISE 5.0 */

int
first(int x)
{
	/*
	 * EXERCISE 5.1: return what is asked for;
	 * see the manual.
	 * until then: x++; return x; puts("a;b");
	 */
	return the_secret_answer(x);
	/* END EXERCISE 5.1 */
}

int
second(int x)
{
	/* EXERCISE 5.2a: two lines.
	 * until then:
	 * if (x)
	 * 	return 1;
	 * return 2;
	 */
	return another_secret(x);
	/* END EXERCISE 5.2a */
}
"""
BETA = """\
section .text
f:
	; EXERCISE 5.2b: load it
	; with care.
	; until then: xor eax, eax
	; until then: ret
	; a comment that gives it away
	mov eax, secret_in_asm
	; END EXERCISE 5.2b
"""
ANSWERS = """\
# Write below.
# EXERCISE 5.3: the answer
# until then: answer:
answer: forty-two of them
# END EXERCISE 5.3
"""


def course():
    tree = Tree()
    tree.lab(5, {"alpha.c": ALPHA, "beta.asm": BETA, "answers.txt": ANSWERS})
    return tree


def skeleton_tests():
    tree = course()
    done = tree.tool("skeletons", "--check")
    ok(done.status == 1 and "is not there" in done.out, "--check fails where labs/ is missing",
       out=done.out)
    tree.skeletons()
    alpha = tree.read("labs/5-made-up/alpha.c")
    ok('exercise_todo("5.1", "handouts/lab5.md#ex-5-1");\n\tx++;\n\treturn x;\n\tputs("a;b");\n'
       in alpha, "a region becomes a loud body, its statements one to a line", got=alpha)
    ok("\tif (x)\n\t\treturn 1;\n\treturn 2;\n" in alpha, "several lines of `until then` stay as "
       "they are", got=alpha)
    ok("until then" not in alpha and "see the manual." in alpha,
       "the comment stays, without `until then`", got=alpha)
    every = "".join(tree.fingerprint().get(f"labs/5-made-up/{n}", b"").decode()
                    for n in ("alpha.c", "beta.asm", "answers.txt"))
    ok(not any(word in every for word in ("SECRET", "secret", "gives it away", "forty-two")),
       "nothing of a body is left", got=every)
    beta = tree.read("labs/5-made-up/beta.asm")
    ok('\tEXERCISE_TODO 5, 2, "handouts/lab5.md#ex-5-2"\n\txor eax, eax\n\tret\n' in beta,
       "NASM: the macro, then the instructions", got=beta)
    ok("answer:\n# END" in tree.read("labs/5-made-up/answers.txt"), "a text's region is emptied",
       got=tree.read("labs/5-made-up/answers.txt"))
    ok(tree.tool("skeletons", "--check").status == 0, "--check is content then")
    before = tree.fingerprint()
    tree.skeletons()
    ok(before == tree.fingerprint(), "a second run changes nothing")
    tree.write("solutions/5-made-up/alpha.c", ALPHA.replace("see the manual", "see the other one"))
    ok(tree.tool("skeletons", "--check").status == 1, "--check sees a changed solution")
    ok(tree.tool("skeletons").status == 0, "untouched skeletons are made anew")
    tree.work("5-made-up/alpha.c", "x++;", "x += 2;")
    done = tree.tool("skeletons")
    ok(done.status == 1 and "somebody's work" in done.out, "work in labs/ is noticed", out=done.out)
    ok("x += 2;" in tree.read("labs/5-made-up/alpha.c"), "and not overwritten", out=done.out)
    tree.skeletons("--force")
    ok("x += 2;" not in tree.read("labs/5-made-up/alpha.c"), "but with --force")
    tree.write("labs/5-made-up/stray.c", "")
    ok("stray.c has no solution" in tree.tool("skeletons", "--check").out,
       "--check sees a file that no solution makes")
    (tree.path / "labs/5-made-up/stray.c").unlink()
    tree.write("solutions/5-made-up/extra.c", "int x;\n")
    ok("is not among the `files`" in tree.tool("skeletons", "--check").out,
       "a solution that the manifest lacks is refused")


def given_tests():
    tree = course()
    tree.write("course.toml", 'given = ["5.1"]\n[export]\nleave_out = []\n')
    tree.skeletons()
    alpha = tree.read("labs/5-made-up/alpha.c")
    ok("the_secret_answer" in alpha and "another_secret" not in alpha and "until then" not in alpha,
       "course.toml hands out one exercise and keeps the other", got=alpha)
    tree.write("course.toml", 'given = ["5.9"]\n')
    done = tree.tool("skeletons")
    ok(done.status == 1 and "5.9" in done.out, "an exercise that nobody has can't be given",
       out=done.out)


BROKEN = [
    ("unclosed", "{\n\t/* EXERCISE 5.1: a */\n\tx;\n}\n", 2, "never ends"),
    ("nested", "/* EXERCISE 5.1: a */\n/* EXERCISE 5.2: b */\n/* END EXERCISE 5.2 */\n"
     "/* END EXERCISE 5.1 */\n", 2, "has not ended yet"),
    ("twice", "/* EXERCISE 5.1: a */\n/* END EXERCISE 5.1 */\n/* EXERCISE 5.1: a */\n"
     "/* END EXERCISE 5.1 */\n", 3, "is in line 1 too"),
    ("end without start", "x\n/* END EXERCISE 5.1 */\n", 2, "never started"),
    ("other end", "/* EXERCISE 5.1: a */\n/* END EXERCISE 5.2 */\n", 2, "ends EXERCISE 5.1"),
    ("bad id", "\n/* EXERCISE 5: a */\n/* END EXERCISE 5 */\n", 2, "no id"),
    ("no colon", "/* EXERCISE 5.1 a */\n/* END EXERCISE 5.1 */\n", 1, "no region starts"),
    ("code before", "int x; /* EXERCISE 5.1: a */\n/* END EXERCISE 5.1 */\n", 1,
     "starts"),
    ("code behind", "/* EXERCISE 5.1: a */ int x;\n/* END EXERCISE 5.1 */\n", 1, "may follow"),
    ("end with code", "/* EXERCISE 5.1: a */\n} /* END EXERCISE 5.1 */\n", 2, "line"),
    ("comment without end", "/* EXERCISE 5.1: a\n * b\n", 1, "never ends"),
    ("two in a comment", "/* EXERCISE 5.1: a\n * EXERCISE 5.2: b */\n", 2, "another"),
    ("other lab", "/* EXERCISE 6.1: a */\n/* END EXERCISE 6.1 */\n", 1, "in lab 5"),
    ("outside of a function", "/* EXERCISE 5.1: a */\nint f;\n/* END EXERCISE 5.1 */\n", 1,
     "outside of a function"),
    ("empty until", "\t/* EXERCISE 5.1: a\n\t * until then:\n\t */\n\t/* END EXERCISE 5.1 */\n", 2,
     "says nothing"),
]


def broken_tests():
    for name, text, line, words in BROKEN:
        tree = Tree()
        tree.lab(5, {"a.c": text})
        done = tree.tool("skeletons")
        place = f"solutions/5-made-up/a.c:{line}:"
        ok(done.status == 1 and place in done.out and words in done.out
           and not (tree.path / "labs").exists(), f"refused with its place: {name}", out=done.out)
    tree = Tree()
    tree.lab(5, {"a.c": "\t/* EXERCISE 5.1: a */\n\tx;\n\t/* END EXERCISE 5.1 */\n",
                 "b.c": "\n\t/* EXERCISE 5.1: a */\n\tx;\n\t/* END EXERCISE 5.1 */\n"})
    done = tree.tool("skeletons")
    ok(done.status == 1 and "b.c:2" in done.out and "a.c:1" in done.out,
       "refused with its place: the same id in two files", out=done.out)
    tree = Tree()
    tree.lab(5, {"a.asm": "\t; EXERCISE 5.1: a\n\tnop\n"})
    ok("a.asm:1: EXERCISE 5.1 never ends" in tree.tool("skeletons").out, "NASM: never ends")


def parser_tests():
    text = ALPHA.replace("\n", "\r\n")
    ok([one.id for one in region.parse(text, "a.c")] == ["5.0", "5.1", "5.2a"],
       "line ends of Windows do no harm")
    one = region.parse(ALPHA, "a.c")[2]
    ok(one.exercise == "5.2" and not one.free and one.body == ["\treturn another_secret(x);"],
       "5.2a belongs to exercise 5.2", got=one)
    again = region.with_bodies(ALPHA, region.parse(ALPHA, "a.c"), {})
    ok(again == ALPHA, "nothing changes where nothing is to change")


def labinfo(tree, lab, **more):
    words = [w for key, value in more.items() for w in (f"--{key}", value)]
    done = tree.tool("labinfo", "make", "--lab", lab, *words)
    path = next((line for line in done.out.split("\n") if line.endswith("lab.mk")), "")
    table = {}
    for line in tree.read(path).splitlines() if path else []:
        key, _, value = line.partition(" := ")
        table[key] = value
    return done, table


def two_labs():
    tree = course()
    tree.lab(6, {"gamma.c": ALPHA.replace("5.", "6.")}, needs=[5])
    tree.skeletons()
    return tree


def build_tests():
    tree = two_labs()
    done, table = labinfo(tree, "5")
    ok(table["SOURCES"] == "labs/5-made-up/alpha.c labs/5-made-up/beta.asm" and "note" not in done.out,
       "a lab is built of labs/, as it is", out=done.out, got=table)
    done, table = labinfo(tree, "5", solution="1")
    ok("solutions/5-made-up/alpha.c" in table["SOURCES"] and table["VARIANT"] == "lab5-solution",
       "SOLUTION=1 takes solutions/", out=done.out, got=table)
    done, table = labinfo(tree, "6")
    merged = "build/lab6/merged/5-made-up/alpha.c"
    ok(merged in table["SOURCES"] and "labs/6-made-up/gamma.c" in table["SOURCES"]
       and "note: lab 5: taken from the reference: 5.1, 5.2" in done.out,
       "what a lab needs and nobody has done comes from the reference, and is said", out=done.out)
    ok("the_secret_answer" in tree.read(merged) and "exercise_todo" not in tree.read(merged),
       "the merged file is done")
    tree.work("5-made-up/alpha.c", 'exercise_todo("5.1", "handouts/lab5.md#ex-5-1");', "/* mine */")
    done, table = labinfo(tree, "6")
    ok("reference: 5.2\n" in done.out and "/* mine */" in tree.read(merged)
       and "another_secret" in tree.read(merged), "what is done stays the student's", out=done.out)
    done, table = labinfo(tree, "6", ref="6.1")
    merged = "build/lab6-ref-6.1/merged/6-made-up/gamma.c"
    ok(merged in table["SOURCES"] and "the_secret_answer" in tree.read(merged)
       and "another_secret" not in tree.read(merged) and "SECRET_HELPER" in tree.read(merged),
       "REF=6.1 takes one exercise, and the empty N.0 with it", out=done.out)
    done, table = labinfo(tree, "6", ref="5")
    ok("solutions/5-made-up/alpha.c" in table["SOURCES"]
       and "labs/6-made-up/gamma.c" in table["SOURCES"], "REF=5 takes a whole lab", got=table)
    for ref in ("7", "6.9", "x", "6.1.2", "$(touch zz)"):
        done, _ = labinfo(tree, "6", ref=ref)
        ok(done.status == 1 and "REF" in done.out and done.out.count("\n") == 1,
           f"REF={ref} is refused in one line", out=done.out)
    (tree.path / "labs/5-made-up/beta.asm").unlink()
    done, _ = labinfo(tree, "5")
    ok(done.status == 1 and "labs/5-made-up/beta.asm is not there" in done.out,
       "a missing file is named", out=done.out)


def no_files_tests():
    """A lab that has no files of its own yet, between two that have: with an empty folder, or with none."""
    tree = two_labs()
    tree.write("vmm/seven/seven.c", "int seven;\n")
    tree.write("grade/labs/7.toml", 'lab = 7\ntitle = "T"\nversion = 1\ndir = "7-made-up"\nneeds = ["6"]\nsources = ["vmm/seven"]\n'
               'handout = "handouts/lab7.md"\nfiles = []\n')
    tree.lab(8, {"delta.c": ALPHA.replace("5.", "8.")}, needs=[7])
    tree.skeletons()
    for what in ("no folder", "an empty folder"):
        done, table = labinfo(tree, "8", solution="1")
        ok("vmm/seven/seven.c" in table.get("SOURCES", "") and "solutions/8-made-up/delta.c" in table["SOURCES"],
           f"a lab that has no files of its own, with {what}, is there for who needs it", out=done.out, got=table)
        (tree.path / "solutions/7-made-up").mkdir(exist_ok=True)


def flavour_tests():
    """A lab whose number is a word: 5s, with exercises 5s.k, beside Lab 5."""
    tree = two_labs()
    tree.lab("5s", {name: text.replace("EXERCISE 5.", "EXERCISE 5s.") for name, text in
                    (("alpha.c", ALPHA), ("beta.asm", BETA))}, needs=[6])
    tree.skeletons()
    ok('exercise_todo("5s.1", "handouts/lab5s.md#ex-5s-1");' in tree.read("labs/5s-made-up/alpha.c")
       and 'EXERCISE_TODO 5s, 2, "handouts/lab5s.md#ex-5s-2"' in tree.read("labs/5s-made-up/beta.asm"),
       "a flavour's exercises are its own", got=tree.read("labs/5s-made-up/beta.asm"))
    done, table = labinfo(tree, "5s", ref="5s.1")
    merged = "build/lab5s-ref-5s.1/merged/5s-made-up/alpha.c"
    ok(merged in table["SOURCES"] and "the_secret_answer" in tree.read(merged)
       and "another_secret" not in tree.read(merged), "REF=5s.1 takes one of them", out=done.out)
    done, _ = labinfo(tree, "5s", ref="5s.9")
    ok(done.status == 1 and "there is no exercise 5s.9" in done.out, "and not one that nobody has", out=done.out)
    patch = ("exercise: 5s.1\nsymptom: x\nhint: y\n--- a/solutions/5s-made-up/alpha.c\n+++ b/solutions/5s-made-up/alpha.c\n"
             "@@ -15,1 +15,1 @@\n-\treturn the_secret_answer(x);\n+\treturn x;\n")
    tree.write("grade/mutants/5s.1-other.patch", patch)
    for words, wanted in (((), 0), (("5s",), 0), (("5",), 0)):
        done = tree.tool("mutants", "check", *words)
        ok(done.status == wanted, f"mutants.py check {' '.join(words)}: a flavour's mutant", out=done.out)
    done = tree.tool("mutants", "list", "5s")
    ok(done.out == "5s.1-other\n" and not tree.tool("mutants", "list", "5").out, "and it is that lab's alone", out=done.out)


def no_reference_tests():
    tree = two_labs()
    shutil.rmtree(tree.path / "solutions")
    done, table = labinfo(tree, "6")
    ok("lab 5 is needed, and not done yet: 5.1, 5.2; its objects" in done.out and "catchup/5-made-up" in done.out
       and "labs/5-made-up/alpha.c" in table["SOURCES"], "without a reference it says what is open",
       out=done.out)
    for wish in ({"solution": "1"}, {"ref": "5"}, {"ref": "5.1"}):
        done, _ = labinfo(tree, "6", **wish)
        ok(done.status == 1 and "not here" in done.out, f"{wish} needs a reference", out=done.out)


def hostile_name_tests():
    tree = two_labs()
    tree.write("labs/5-made-up/$(touch pwned).c", "int x;\n")
    tree.write("labs/5-made-up/a b;touch pwned.c", "int x;\n")
    done, table = labinfo(tree, "5")
    ok(done.status == 0 and "pwned" not in str(table), "weird names in labs/ never reach make",
       got=table)
    tree.write("grade/labs/7.toml", tree.read("grade/labs/6.toml").replace("lab = 6", "lab = 7")
               .replace('"gamma.c"', '"../x.c"'))
    done, _ = labinfo(tree, "7")
    ok(done.status == 1 and "no name for a file" in done.out, "a manifest can't leave its folder",
       out=done.out)


def make_tests():
    for value in ("99", "x", "-1", "1x", "0x1", "1 2", "../1", "$(shell touch pwned)", "';exit 0;'",
                  "007"):
        done = run("make", f"LAB={value}".replace("$", "$$"), cwd=ROOT)
        good = done.status != 0 and done.out.count("\n") <= 1
        ok(good and "there are: 0A " in done.out, f"make LAB={value}: one line, and it fails",
           out=done.out, status=done.status)
    ok(not (ROOT / "pwned").exists(), "and nothing of it was run")
    for goal in ("grade", "submit", "qemu"):
        done = run("make", goal, "LAB=99", cwd=ROOT)
        ok(done.status != 0 and done.out.count("\n") == 1 and "no such lab" in done.out,
           f"make {goal} LAB=99: the same", out=done.out)
    for goal in ("build", "submit", "grade"):
        done = run("make", goal, "CHOSEN=", cwd=ROOT)
        ok(done.status != 0 and "say which lab: LAB=n" in done.out and "there are: 0A" in done.out
           and done.out.count("\n") == 1, f"make {goal} without a lab says which there are", out=done.out)
    done = run("make", "help", cwd=ROOT)
    words = ("demo check help lab hint qemu bochs gdb grade submit skeletons student update doctor handouts "
             "format compile_commands.json clean unit").split()
    ok(done.status == 0 and all(f"make {w}" in done.out for w in words),
       "make help names every command", out=done.out)
    done = run("python3", TOOLS / "skeletons.py", "--check", cwd=ROOT)
    if (ROOT / "solutions").is_dir():
        ok(done.status == 0, "labs/ is what the solutions make", out=done.out)


def region_of(ident, body):
    return (f"\t/* EXERCISE {ident}: do it.\n\t * until then: return 0;\n\t */\n\t{body}\n"
            f"\t/* END EXERCISE {ident} */\n")


def halved():
    """Lab 5 in two halves, the second one resting on the first; lab 6 needs bits of it."""
    tree = Tree()
    files = {name: "int\nf(void)\n{\n" + region_of(ident, f"return {name[0]}_secret;") + "}\n"
             for name, ident in (("a.c", "5.1"), ("b.c", "5.2"), ("c.c", "5.3"))}
    tree.lab(5, files, halves={"A": (["a.c", "b.c"], []), "B": (["c.c"], ["5A"])},
             exercises=[("5.1", "A"), ("5.2", "A"), ("5.3", "B")])
    tree.lab(6, {"d.c": region_of("6.1", "return d_secret;")}, needs=["5A"])
    tree.lab(7, {"e.c": region_of("7.1", "return e_secret;")}, needs=["5.2"])
    tree.lab(8, {"g.c": region_of("8.1", "return g_secret;")}, needs=["7", "5B"])
    tree.skeletons()
    return tree


def sources(table):
    return [name.split("/")[-1] for name in table["SOURCES"].split()]


def halves_tests():
    tree = halved()
    done, table = labinfo(tree, "5A")
    ok(sources(table) == ["a.c", "b.c", "c.c"] and "note" not in done.out and table["NAME"] == "5A"
       and table["VARIANT"] == "lab5A", "a half is built as it is, with the other half's files", out=done.out)
    done, table = labinfo(tree, "5B")
    ok("note: lab 5: taken from the reference: 5.1, 5.2\n" in done.out and "labs/5-made-up/c.c" in table["SOURCES"],
       "what the second half rests on comes from the reference, and is said", out=done.out, got=table)
    done, table = labinfo(tree, "6")
    ok(sources(table) == ["a.c", "b.c", "d.c"] and "reference: 5.1, 5.2\n" in done.out,
       "a lab that needs a half is built without the other half's files", out=done.out, got=table)
    done, table = labinfo(tree, "7")
    ok(sources(table) == ["b.c", "e.c"] and "reference: 5.2\n" in done.out,
       "a lab that needs an exercise gets the file that holds it", out=done.out, got=table)
    done, table = labinfo(tree, "8")
    ok(sources(table) == ["a.c", "b.c", "c.c", "e.c", "g.c"] and "reference: 5.1, 5.2, 5.3\n" in done.out,
       "needs of needs, and the half that a half rests on", out=done.out, got=table)
    done, table = labinfo(tree, "all")
    ok(sources(table) == ["a.c", "b.c", "c.c", "d.c", "e.c", "g.c"] and "note" not in done.out
       and table["VARIANT"] == "laball", "all is every lab, as it is", out=done.out, got=table)
    for lab in ("5C", "6A", "A", "5a", "5AB", "ALL"):
        done, _ = labinfo(tree, lab)
        ok(done.status == 1 and "there are: 5A 5B 6 7 8 (5 is 5A and 5B, all is every lab)" in done.out
           and done.out.count("\n") == 1, f"LAB={lab} is refused in one line", out=done.out)
    for needs, words in ((["9"], "which is no lab"), (["5C"], "no such half"), (["x"], "which is no lab"),
                         (["x or y"], "which is no lab"), ([""], "which is no lab"), (["6"], "needs itself")):
        tree.lab(6, {"d.c": region_of("6.1", "return d_secret;")}, needs=needs)
        for asked in ("6", "all"):
            done, _ = labinfo(tree, asked)
            ok(done.status == 1 and words in done.out and "Traceback" not in done.out,
               f"needs {needs} is refused (LAB={asked})", out=done.out)


def half_files_tests():
    tree = halved()
    done = tree.tool("submit", "5B")
    import tarfile
    with tarfile.open(tree.path / "zeno-lab5B.tar") as tar:
        names, manifest = tar.getnames(), tar.extractfile("zeno-lab5B/MANIFEST").read().decode()
    ok(done.status == 0 and names == ["zeno-lab5B/MANIFEST", "zeno-lab5B/c.c"] and "lab 5B " in manifest,
       "a half's submission holds its files alone", got=names)
    text = tree.read("grade/labs/5.toml")
    tree.write("grade/labs/5.toml", text.replace('["c.c"]', '["b.c", "c.c"]'))
    done = tree.tool("skeletons", "--check")
    ok(done.status == 1 and "b.c" in done.out and "of half A" in done.out,
       "a file with regions of another half is refused", out=done.out)
    tree.write("grade/labs/5.toml", text.replace('id = "5.3"\nhalf = "B"', 'id = "5.3"\nhalf = "C"'))
    done = tree.tool("skeletons", "--check")
    ok(done.status == 1 and "`half` is one of A B" in done.out, "an exercise of no half is refused", out=done.out)
    page = tree.read("labs/5-made-up/c.c")
    ok('"handouts/lab5B.md#ex-5-3"' in page, "a hole names its half's handout", got=page)


def remembered_tests():
    tree = halved()
    done = tree.tool("labinfo", "labs")
    ok("must be named" in done.out and "5B    Made up: Half B" in done.out, "which labs there are", out=done.out)
    done = tree.tool("labinfo", "remember", "--lab", "5B")
    ok(done.status == 0 and tree.read(".lab") == "5B\n", "make lab writes the choice down", out=done.out)
    done = tree.tool("labinfo", "labs")
    ok("LAB=n is 5B where you name none" in done.out, "and it is said", out=done.out)
    for lab in ("5C", "", "$(touch x)"):
        done = tree.tool("labinfo", "remember", "--lab", lab)
        ok(done.status == 1 and tree.read(".lab") == "5B\n", f"but not {lab or 'nothing'}", out=done.out)
    copy = folder() / "tree"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "build", ".lab"))
    done = run("make", "lab", "LAB=2B", cwd=copy)
    ok(done.status == 0 and (copy / ".lab").read_text() == "2B\n", "make lab LAB=2B", out=done.out)
    done = run("make", "-n", "build", cwd=copy)
    ok(done.status == 0 and "build/lab2B/zeno.mb" in done.out, "then make means it", out=done.out[-900:])
    done = run("make", "-n", "build", "LAB=0A", cwd=copy)
    ok(done.status == 0 and "build/lab0A/zeno.mb" in done.out, "but for a LAB= of one's own", out=done.out[-900:])


for group in (halves_tests, half_files_tests, remembered_tests, parser_tests, skeleton_tests, given_tests, broken_tests, build_tests, no_files_tests,
              flavour_tests, no_reference_tests, hostile_name_tests, make_tests):
    group()
finish()
