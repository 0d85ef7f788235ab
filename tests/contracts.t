#!/usr/bin/env python3
"""Contracts of four labelled lines, hints, `make hint`, and the lint that finds a contract which tells too much."""

import json
import re
import shutil
import sys
import tarfile
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, Tree, finish, folder, ok, run  # noqa: E402

sys.path[:0] = [str(TOOLS), str(ROOT / "grade")]
import region  # noqa: E402
from zeno.judging import explain  # noqa: E402

C = """\
int
first(int x)
{
	/*
	 * EXERCISE 5.1: the first
	 * Holds: afterwards the sum that was asked for is given back, for every value that a caller may
	 *  have; what does not fit is refused.
	 * Beware: callers are guests, and nothing they say may be believed or read twice.
	 * Manual: APM 2, the section on sums.
	 * Tools: add_up(), check_sum(), refuse() of kern/sums.h
	 * Hint: what is
	 *  asked here?
	 * Hint: think of a smaller case.
	 * Hint: in another case one would subtract.
	 * until then: return 0;
	 */
	int total = add_up(x, LIMIT_OF_SUMS);

	if (check_sum(total) > 4711)
		return -EINVAL;
	return total;
	/* END EXERCISE 5.1 */
}
"""
ASM = """\
f:
	; EXERCISE 5.2: the second
	; Holds: the register that the caller wants is loaded, and no other register or flag has changed by it.
	; Beware: the guest may have any flags set, and may look at all of them again later on.
	; Manual: SDM 2A, the instruction's own page.
	; Tools: load_it, other_one
	; Hint: first
	; Hint: second
	; Hint: third
	; until then: ret
	pushf
	load_it eax
	popf
	ret
	; END EXERCISE 5.2
"""
PAGE = """\
## The lab
### 5.1 First {#ex-5-1}
*Predict*: how many?
### 5.2 Second {#ex-5-2}
*Predict*: which?
"""
TITLES = ("\n[[exercises]]\nid = \"5.1\"\n[[exercises]]\nid = \"5.2\"\n"
          "[[tests]]\nexercise = \"5.1\"\ntitle = \"a sum\"\n")


def course(c=C, asm=ASM, page=PAGE, hints="demand"):
    tree = Tree()
    tree.lab(5, {"a.c": c, "b.asm": asm})
    tree.write("grade/labs/5.toml", tree.read("grade/labs/5.toml") + TITLES)
    tree.write("handouts/lab5.md", page)
    tree.write("course.toml", f'given = []\nhints = "{hints}"\n[export]\nleave_out = ["course.toml"]\n')
    tree.write("tools/student-readme.md", "make qemu\n")
    tree.skeletons()
    return tree


def parsed():
    one = region.parse(C, "a.c")[0]
    ok(list(one.contract) == ["Holds", "Beware", "Manual", "Tools"]
       and one.contract["Holds"].endswith("have; what does not fit is refused."), "a contract is read", got=one.contract)
    ok(one.hints == ["what is asked here?", "think of a smaller case.", "in another case one would subtract."],
       "and its hints", got=one.hints)
    tree = course()
    text = tree.read("labs/5-made-up/a.c")
    ok("Beware: callers" in text and "Hint" not in text and "smaller case" not in text and "\t */\n\texercise_todo" in text,
       "the skeleton has the contract and no hint", got=text)
    text = tree.read("labs/5-made-up/b.asm")
    ok("; Tools: load_it" in text and "Hint" not in text and "EXERCISE_TODO 5, 2" in text, "NASM: the same", got=text)
    text = course(hints="inline").read("labs/5-made-up/a.c")
    ok("* Hint: think of a smaller case.\n" in text, 'hints = "inline" leaves them in', got=text)
    for name, c, words in (
            ("a missing line", C.replace("Manual:", "Book:"), "Holds, Beware, Manual, Tools"),
            ("another order", C.replace("Holds:", "X:").replace("Beware:", "Holds:").replace("X:", "Beware:"),
             "in this order"),
            ("twice", C.replace("Manual: APM", "Holds: APM"), "twice"),
            ("four hints", C.replace("	 * until", "	 * Hint: more\n	 * until"), "more than 3 hints")):
        tree = Tree()
        tree.lab(5, {"a.c": c})
        done = tree.tool("skeletons")
        ok(done.status == 1 and words in done.out and "solutions/5-made-up/a.c:" in done.out, f"refused: {name}",
           out=done.out)


def linted():
    done = course().tool("contract")
    ok(done.status == 0 and done.out.startswith("2 exercises"), "contracts that tell little", out=done.out)
    told = "LIMIT_OF_SUMS and 4711, or EINVAL: see check_sum"
    for name, words, more in (
            ("a contract that names the solution", "told before", {"c": C.replace("nothing they say", told)}),
            ("a handout that does", "told before", {"page": PAGE.replace("how many?", "how many? " + told)}),
            ("a comment around it", "told before", {"c": f"/* {told} */\n" + C}),
            ("an ordered list", "ordered list", {"page": PAGE.replace("how many?", "how many?\n\n1. add\n2. check\n")}),
            ("no prediction", "no prediction", {"page": PAGE.replace("*Predict*: which?", "")}),
            ("tools out of order", "alphabetical", {"asm": ASM.replace("load_it, other_one", "other_one, load_it")}),
            ("no needless tool", "are needed", {"asm": ASM.replace(", other_one", "")}),
            ("a missing hint", "not 3 hints", {"asm": ASM.replace("	; Hint: third\n", "")}),
            ("no labelled lines", "no labelled lines", {"asm": re.sub(r"\t; (Holds|Beware|Manual|Tools|Hint):.*\n", "", ASM)}),
            ("too many words", "about 60", {"asm": ASM.replace("look at", "look at " + "very " * 80)})):
        done = course(**more).tool("contract")
        ok(done.status == 1 and words in done.out, f"found: {name}", out=done.out)
    done = run("python3", TOOLS / "contract.py", cwd=ROOT)
    ok(done.status == 0, "our own contracts", out=done.out)


def grader_ran(tree, exercise):
    """What the grader does when it has run an exercise's tests."""
    done = run("python3", "-c", "import sys; sys.path.insert(0, 'tools'); import hint; from course import load_lab; "
               "from pathlib import Path; r = Path('.').resolve(); "
               f"hint.note_runs(r, 5, ['{exercise}'], hint.in_labs(load_lab(5, r)))", cwd=tree.path)
    assert done.status == 0, done.out


def opened(tree, what):
    """`make hint`, which may be used in an export as in the course's own tree."""
    done = tree.tool("hint", "5.1")
    ok(done.status == 0 and "Hint 1 of 3: what is asked here?" in done.out and "Hint 2" not in done.out
       and "change your code first" in done.out, f"{what}: the first hint is there at once", out=done.out)
    grader_ran(tree, "5.1")
    done = tree.tool("hint", "5.1")
    ok("Hint 2" not in done.out and "change your code first" in done.out, f"{what}: no second one without a change",
       out=done.out)
    tree.work("5-made-up/a.c", "return 0;", "return 1;")
    done = tree.tool("hint", "5.1")
    ok("Hint 2" not in done.out and "make grade LAB=5 ONLY=5.1" in done.out,
       f"{what}: nor without having run the tests", out=done.out)
    grader_ran(tree, "5.1")
    done = tree.tool("hint", "5.1")
    ok("Hint 2 of 3: think of" in done.out and "Hint 3" not in done.out, f"{what}: then the second one", out=done.out)
    tree.work("5-made-up/a.c", "return 1;", "return 2;")
    grader_ran(tree, "5.1")
    done = tree.tool("hint", "5.1")
    ok("Hint 3 of 3: in another" in done.out and "the last one" in done.out, f"{what}: and the third", out=done.out)
    tree.tool("submit", "5")
    with tarfile.open(tree.path / "zeno-lab5.tar") as tar:
        told = tar.extractfile("zeno-lab5/MANIFEST").read().decode()
    (tree.path / ".hints").unlink()
    tree.tool("submit", "5")
    with tarfile.open(tree.path / "zeno-lab5.tar") as tar:
        silent = tar.extractfile("zeno-lab5/MANIFEST").read().decode()
    ok("hints 5.1 3\n" in told and "hints" not in silent, f"{what}: a submission tells their number if it may",
       got=told)


def hints():
    opened(course(), "the course's tree")
    tree = course()
    done = tree.tool("student", folder() / "out")
    out = Path(done.out.split()[-1]) if done.status == 0 else None
    ok(done.status == 0 and not (out / "solutions").exists(), "an export", out=done.out)
    opened(Tree.of(out), "an export")
    tree.work("5-made-up/b.asm", "ret", "nop")
    for ident in ("5.9", "7.1", "", "$(x)"):
        done = tree.tool("hint", ident)
        ok(done.status == 1 and done.out.count("\n") == 1, f"no hint for {ident or 'nothing'}: one line", out=done.out)
    pieces = ASM.replace("EXERCISE 5.2", "EXERCISE 5.2a") + ASM.replace("EXERCISE 5.2", "EXERCISE 5.2b").replace("f:", "g:")
    done = course(asm=pieces).tool("hint", "5.2")
    ok(done.status == 0 and "make hint EX=5.2a\n" in done.out and "make hint EX=5.2b\n" in done.out,
       "an exercise of two pieces: how to ask for each", out=done.out)
    done = run("python3", "-c", "import hint; from course import ROOT, load_lab; print(hint.locked({'opened': {'4.6a': {'code': 'old'}}, "
               "'ran': {}}, load_lab(4, ROOT), '4.6a', 'new'))", cwd=TOOLS)
    ok("make grade LAB=4B ONLY=4.6\n" in done.out, "of a lab in halves the half is what its reader runs", out=done.out)
    tree.write(".hints", "[1, {")
    done = tree.tool("hint", "5.2")
    ok(done.status == 0 and "Hint 1 of 3: first" in done.out, "a .hints that can't be read is none", out=done.out)
    state = json.loads(tree.read(".hints"))
    ok(state["opened"]["5.2"]["count"] == 1, "and is written anew", got=state)
    tree = course(hints="none")
    tree.write("grade/rules.toml", '[[rules]]\nlab = "5"\nfield = "CR0"\nmistake = "no"\n')
    ok(tree.tool("hint", "--rule=CR0").status == 1, 'hints = "none": no likely mistake of a rule, either')
    done = tree.tool("hint", "5.1")
    ok(done.status == 1 and "gives no hints" in done.out, 'hints = "none"', out=done.out)
    done = tree.tool("student", folder() / "out")
    out = Path(done.out.split()[-1])
    ok(not list(out.rglob("grade/hints/*")) and not (out / "grade/rules.toml").exists() and Tree.of(out).tool("hint", "5.1").status == 1,
       "and the export has none", out=done.out)
    shutil.rmtree(out)


def fields_of_rules():
    """{lab: names of fields that a rule of VM entries, or of VMRUN, is about}, from the checkers' sources."""
    vmx = "".join(path.read_text() for path in ROOT.glob("vmm/vmx/rules_*.c"))
    svm = (ROOT / "vmm/svm/rules.c").read_text() + (ROOT / "solutions/4s-svm/own_rules.c").read_text()
    segments = {f"guest {name} {part}" for name in "CS SS DS ES FS GS TR LDTR".split() for part in ("base", "access rights")}
    segments |= {f"guest {name} selector" for name in ("TR", "LDTR", "SS")}
    segments |= {f"guest {name} limit" for name in "CS SS DS ES FS GS".split()}
    return {"4": set(re.findall(r'\bFIELD\("([^"]+)", [A-Z]', vmx)) | segments,
            "4s": set(re.findall(r'\bSVM_FIELD\("([^"]+)"', svm))}


def rules():
    """`make hint RULE=...` has a likely mistake for each field that a rule is about, and none for others."""
    if not (ROOT / "grade/labs/4.toml").is_file():
        return
    fields, told = fields_of_rules(), {}
    ok(len(fields["4"]) > 80 and len(fields["4s"]) >= 14, "the checkers' fields are found", got=fields)
    for lab, names in fields.items():
        for name in names:
            told[lab, name] = explain.tool("hint").behind_rule(ROOT, name)
    ok(not [pair for pair, text in told.items() if not text.startswith(f"Lab {pair[0]}, {pair[1]}: ")],
       "for each of them a likely mistake is told, of its own lab", got=told)
    lines = {'d1 hello: stopped: the VMCS is refused (before its first launch): pin-based controls = 76: "virtual NMIs" needs '
             '"NMI exiting" [exit 1: no trap]': "lean on another", "d1 hello: VM entry: primary controls = 0: a bit is 0 that must "
             "be 1 on this CPU (SDM 3C)": "two halves", "d1 hello: stopped: the CPU refuses the VMCB: EFER = 0: SVME must be 1": "SVME"}
    for line, words in lines.items():
        done = run("python3", TOOLS / "hint.py", "--rule", line)
        ok(done.status == 0 and words in " ".join(done.out.split()), "a whole line says which rule", line=line, out=done.out)
    ok([explain.broken_rule(line) for line in lines] == ['make hint RULE="pin-based controls"', None, 'make hint RULE="EFER"'],
       "EXPLAIN=1 leads there from a guest's last line", got=[explain.broken_rule(line) for line in lines])
    for number, field in (("4", "guest CR0"), ("4s", "EFER")):
        line = f"the CPU refuses it, for no rule that Zeno knows, and yours are not written (exercise {number}.7) [exit 1: no trap]"
        done = run("python3", TOOLS / "hint.py", "--rule", line)
        ok(done.status == 0 and f"{number}.7 is done" in done.out and field in done.out and field in fields[number],
           f"before {number}.7 is done: which fields nobody has looked at", out=done.out)
        ok(explain.broken_rule(line) == f'make hint RULE="exercise {number}.7"', "EXPLAIN=1 leads there, too",
           got=explain.broken_rule(line))
    hint = explain.tool("hint")
    spelled = {name for one in tomllib.loads((ROOT / "grade/rules.toml").read_text())["rules"] for name in hint.spelled(one["field"])}
    ok(spelled - fields["4"] - fields["4s"] <= {"guest CS selector", "host CS base", "VM-entry MSR-store address"} and len(spelled) > 60,
       "the names that rules.toml stands for are the checkers'", got=spelled - fields["4"] - fields["4s"])
    for asked in ("efer", "GUEST cr0", "n_cr3"):
        ok(hint.behind_rule(ROOT, asked).startswith("Lab 4"), f"{asked}: a field is found in any case")
    for asked, found in (("guest cr3x", "guest CR3"), ("rflags", "guest RFLAGS"), ("ASID", "Guest ASID"), ("eventinject", "EVENTINJ")):
        try:
            said = hint.behind_rule(ROOT, asked)
        except hint.CourseError as error:
            said = str(error)
        ok(f"(near it: {found}" in said, f"{asked}: near ones are told", got=said)
    for line in ("guest", "guest CR0 and more", "host CR9", "$(x)", "'"):
        done = run("python3", TOOLS / "hint.py", "--rule", line)
        ok(done.status == 1 and done.out.count("\n") == 1, f"no rule is about {line}: one line", out=done.out)


parsed()
linted()
hints()
rules()
finish()
