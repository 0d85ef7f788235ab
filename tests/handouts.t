#!/usr/bin/env python3
"""The handouts: their form, and that every transcript and table in them is what comes out today.

If a message has changed on purpose, `tools/transcripts.py --write` puts the handouts right; look at what
it did before you commit it. Each commit tries a third of the transcripts, another one than the commit before; and all
of a handout that it changes, or that names a file or starts a guest that it changes. `make check-all` tries all.
"""

import os
import re
import shutil
import sys
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
import turn  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402
import transcripts as replay  # noqa: E402

PARTS = 3

FALSE = """# Made up

<!-- transcript: -->
```
$ make qemu LAB=0 APPEND="-- echo one; echo two"
[...]
K> echo one
{said}
K> echo two
two
K>
```

<!-- made: exercises 0A -->
{table}
<!-- end -->
"""


def tool(name, *words):
    """One of our programs, in this tree."""
    return run(sys.executable, TOOLS / f"{name}.py", *words, cwd=ROOT)


def copy_of_tree():
    """What the lint reads."""
    tree = folder() / "tree"
    for name in ("handouts", "grade/labs", "vmm/te", "labs"):
        shutil.copytree(ROOT / name, tree / name)
    return tree


def lint_finds(words, name, old, new):
    """Change one thing in a copy: the lint must say these words."""
    tree = copy_of_tree()
    path = tree / name
    text = path.read_text()
    ok(re.search(old, text), f"{name} has what this test changes: {words}", pattern=old)
    path.write_text(re.sub(old, lambda _: new, text, count=1))
    done = run(sys.executable, TOOLS / "handout_lint.py", tree)
    ok(done.status == 1 and words in done.out, f"the lint finds: {words}", out=done.out)


def lint():
    """The form is right, and the lint would see it if it were not."""
    done = tool("handout_lint")
    ok(done.status == 0, "the handouts have the right form", out=done.out)
    page = "handouts/lab1a.md"
    lint_finds("the sections are", page, r"## Questions to think about \{#questions\}", "## Questions {#quest}")
    lint_finds("exercise 1.2 has no section", page, r"\{#ex-1-2\}", "{#ex-1-22}")
    lint_finds("names LAB_1A #window", page, r"\{#window\}", "{#windows}")
    lint_finds("leads nowhere", page, r"emulators\.md#limits", "emulators.md#limit")
    lint_finds("no words for those", page, r"!\[[^\]]*\]", "![a figure]")
    lint_finds("which edition", page, r"325462-080", "some")
    lint_finds("no test of the lab", page, r"\| `if-virtual` \|", "| `if-real` |")
    lint_finds("a transcript that nobody types", page, r"<!-- transcript: [^\n]*\n", "")
    lint_finds("exit 50 is at", page, r"  exit 50: #PF at [0-9a-f]{6}", "  exit 50: #PF at 001234")
    lint_finds("columns; 120 is the limit", page, r"There are two sets", "There are " + "very " * 30 + "two sets")
    lint_finds("*Manual* is missing", page, r"\*Manual\*", "Manual")
    lint_finds("is missing", page, r"<!-- made: tests 1A -->", "")
    lint_finds("`made: symptoms 4A` is missing", "handouts/lab4a.md", r"\(lab4a-symptoms\.md\)", "(lab4b-symptoms.md)")
    lint_finds("`made: symptoms 4A` is missing", "handouts/lab4a-symptoms.md", r"<!-- made: [^\n]*\n", "")
    lint_finds("question 2 is another one", page, r"2\. The CPU's IF is 1 all", "2. The CPU's IF is 0 all")
    lint_finds("question 4 is another one", "handouts/lab5a.md", r"4\. A guest maps[^?]*\?\n5\.", "4.")
    lint_finds("question 9 is another one", "labs/5-nested/answers.txt", r"# Lab 5B, 1\. ", "# Lab 5A, 9. More?\nmore =\n\n# Lab 5B, 1. ")
    lint_finds("the tables have other numbers", "handouts/lab5a.md", r"own whole has \d+", "own whole has 7")
    lint_finds("names handouts/lab1a.md#ex-1-9", "labs/1-trap-emulate/emulate.c", r"lab1a\.md#ex-1-2",
               "lab1a.md#ex-1-9")


def false_transcripts():
    """A handout that says what does not happen is found, and --write puts it right."""
    path = folder() / "false.md"
    table = tool("transcripts", "--tables", ROOT / "handouts/lab0.md")
    ok(table.status == 0, "the tables of Lab 0 are up to date", out=table.out)
    path.write_text(FALSE.format(said="seven", table="| nothing |"))
    done = tool("transcripts", path)
    ok(done.status == 1 and "+one" in done.out and "-seven" in done.out, "a false transcript is found",
       out=done.out)
    ok("-| nothing |" in done.out, "a false table is found", out=done.out)
    tool("transcripts", "--write", path)
    done = tool("transcripts", path)
    ok(done.status == 0, "--write makes it true", out=done.out)
    text = path.read_text()
    ok("\none\n" in text and "1.5" in text, "and writes what comes out", text=text)


def touched(files):
    """The handouts that a change of these files may make false, for all that can be told by their words."""
    return [page for page in sorted((ROOT / "handouts").glob("*.md"))
            if any(ROOT / name == page if name.startswith("handouts/") else turn.names(page.read_text(), name) for name in files)]


def transcripts():
    """This commit's; in check-all, all of them."""
    pages = [{page.stem for page in touched([name])} for name in ("solutions/2-shadow/fill.c", "guest/os/user/sh.c", "a.c")]
    ok("lab2a" in pages[0] and not {"lab3b", "lab0"} & pages[0] and "lab3b" in pages[1] and "lab2a" not in pages[1] and not pages[2]
       and touched(["handouts/lab0.md"]) == [ROOT / "handouts/lab0.md"], "a change's handouts are found", got=pages)
    made = [types.SimpleNamespace(exact=i % 4 == 0, path=i // 6, line=i) for i in range(30)]
    parts = [replay.in_part(made, f"{k}/{PARTS}", [2]) for k in range(PARTS)]
    ok(all(all(one in part for one in made[12:18] + made[::4]) and len(part) < 20 for part in parts)
       and all(any(one in part for part in parts) for one in made), "three commits try all, and each one all of a handout that it changes")
    if not shutil.which("bochs"):
        skip("this commit's transcripts and all tables in the handouts are true", "Bochs is not installed")
        return
    words = [f"--part={turn.turn(PARTS)}/{PARTS}", *(f"--all-of={page}" for page in touched(turn.changed()))]
    print("#", *words, flush=True)
    done = tool("transcripts", *([] if os.environ.get("ZENO_ALL") else words))
    ok(done.status == 0, "this commit's transcripts and all tables in the handouts are true", out=done.out)


def pages():
    """HTML without a warning."""
    if not shutil.which("pandoc"):
        skip("make handouts builds all pages", "pandoc is not installed")
        return
    out = folder() / "html"
    done = run(sys.executable, TOOLS / "handouts.py", out, cwd=ROOT)
    want = {p.stem for p in (ROOT / "handouts").glob("*.md")}
    made = {p.stem for p in out.glob("*.html")} if out.is_dir() else set()
    ok(done.status == 0 and made == want, "every handout becomes HTML without a warning", out=done.out)
    links = [(p.name, name, place) for p in out.glob("*.html")
             for name, place in re.findall(r'href="([\w.-]*\.html)?#?([\w-]*)"', p.read_text())]
    bad = [link for link in links if link[1] and not (out / link[1]).is_file()
           or link[2] and f'id="{link[2]}"' not in (out / (link[1] or link[0])).read_text()]
    ok(not bad and len(links) > 50, "links between pages go on working", bad=bad[:10])


lint()
false_transcripts()
transcripts()
pages()
finish()
