#!/usr/bin/env python3
"""Exit traces: reading, reference traces, what is said where two part, and the page in a browser."""

import html
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(TOOLS))
sys.path.insert(0, str(ROOT / "grade"))
import mutants  # noqa: E402
import trace_page  # noqa: E402
from zeno.tracing import trace, tracediff  # noqa: E402

HELLO = ROOT / "build" / "guest" / "hello.elf"
BUILDS = {"skeleton": ROOT / "build" / "lab1", "solution": ROOT / "build" / "lab1-solution"}


def line(seq, insn, rip, effect="-", a=0, b=0, onward=None, flag=0, reason=None, vector=13):
    """A side channel line as vmm/words/exitlog.c writes it."""
    onward = rip + 1 if onward is None else onward
    return (f"@Z exit d1 {seq} {reason or insn.upper()} {rip:08x} 1 exit {seq}: words: and more | "
            f"vec={vector:x} err=0 ring=0 effect={effect} a={a:x} b={b:x} next={onward:08x} "
            f"if={flag} shadow=0 insn={insn}\n").encode()


def story(*exits, end="ended exit code 0 after 4 exits", output="hi\n"):
    """A guest's life, through the reader."""
    side = b"@Z start d1 made-up\n" + b"".join(exits)
    side += f"@Z out d1 {output.encode().hex()}\n@Z end d1 {end}\n".encode()
    return trace.read(side).lives[0]


PLAIN = [line(1, "cli", 0x100, "IF", 0), line(2, "out", 0x110, "OUT", 0x3f8, 0x41, reason="IO"),
         line(3, "in", 0x120, "IN", 0x3fd, 0x60, reason="IO"),
         line(4, "sti", 0x130, "IF", 1, flag=1),
         line(5, "out", 0x140, "OUT", 0x3f8, 0x42, flag=1, reason="IO"),
         line(6, "mov", 0x150, "WRITE", 4, 0x5000, flag=1, reason="MMU", vector=14),
         line(7, "hlt", 0x160, "HALT", flag=1, onward=0x160)]


def reading():
    """Lines that are none of ours do no harm; a reference trace survives its file."""
    rubbish = [b"@Z exit", b"@Z exit d1 x", b"\xff\xfe@Z", b"@Z exit d9 1 CLI 0 1 exit", b"@Z out d1 zz",
               b"@Z start", b"@Z end d3", b"@Z exit d1 5 CLI 00000100 1 exit 5: words | vec=d", b""]
    reader = trace.read(b"@Z start d1 x\n" + b"\n".join(rubbish) + b"\n" + PLAIN[3]
                        + b"@Z out d1 6869\n")
    ok(len(reader.lives) == 1 and [one.insn for one in reader.lives[0].exits] == ["sti"]
       and reader.lives[0].output == b"hi", "garbage on the side channel is left out")
    one = reader.lives[0].exits[0]
    ok((one.seq, one.rip, one.next, one.after, one.flag, one.effect, one.a, one.trap)
       == (4, 0x130, 0x131, "+", 1, "IF", 1, "#GP"), "an exit's fields are read", got=one)
    life = story(*PLAIN, output="a \"quoted\" line\n\x7f")
    text = trace.Reference(life, "attack=x", "abc").text()
    back = trace.parse_reference(text)
    ok(back.text() == text and len(back.life.exits) == 7 and back.life.output == life.output,
       "a reference trace read back is the same")
    for broken in ("", "guest x\n\n", text.replace("IO ", "IO more ", 1)):
        try:
            trace.parse_reference(broken)
            ok(False, "a broken reference trace is refused", got=broken[:60])
        except ValueError as error:
            ok(str(error), f"a broken reference trace is refused: {error}")


def said(mine, theirs=None, exact=True):
    """The words for the first divergence."""
    result = tracediff.compare(theirs or story(*PLAIN), mine, exact)
    return result.difference.text if result.difference else "same"


def without(*numbers):
    """PLAIN without some exits."""
    return [one for i, one in enumerate(PLAIN, 1) if i not in numbers]


def changed(number, **fields):
    """PLAIN's life with one exit changed."""
    life = story(*PLAIN)
    life.exits[number - 1] = replace(life.exits[number - 1], **fields)
    return life


def explaining():
    """Each kind of divergence has words of its own."""
    extra = [*PLAIN[:2], line(3, "mov to segment", 0x118, "SEGMENT", 3, 0x10, reason="SEGMENT"), *PLAIN[2:]]
    cases = [
        ("no difference", story(*PLAIN), "^same$"),
        ("rip not advanced", changed(4, after="=", next=0x130),
         r"exit 4, `sti` .*the reference went on behind it, yours resumed at the same rip: was rip"),
        ("IF not set", changed(4, flag=0), "IF is 1 in the reference and 0 in yours"),
        ("sti's shadow", changed(4, shadow=1), "sti's shadow, v->state.sti_shadow, is 0 .* and 1 in yours"),
        ("rip advanced twice", changed(2, after="0x112", next=0x112), "2 bytes on.*advanced twice"),
        ("another value", changed(3, b=0), r"`in` \(port 3fd -> 60\); yours: port 3fd -> 0"),
        ("another error code", changed(3, error=0x28), "error code was 0x0 .* is 0x28"),
        ("another trap", changed(3, vector=6), "the same instruction left .*has #GP .*yours #UD"),
        ("stopped too early", changed(3, effect="STOP"), "yours stops the guest: ended"),
        ("a missing exit", story(*without(4)), r"an exit of the reference is missing .*`sti`"),
        ("two missing exits", story(*without(2, 3)), "2 exits of the reference are missing"),
        ("an extra exit", story(*extra), "an exit here that the reference has not.*shadow"),
        ("an earlier end", story(*PLAIN[:3], end="stopped for some reason"),
         "after exit 3 .*no more exits; stopped: for some reason.*goes on with #GP at .*sti"),
        ("no exits", story(), "no exit at all"),
        ("a later end", story(*PLAIN, line(8, "cli", 0x170)), "yours goes on with exit 8"),
        ("another path", story(*PLAIN[:3], line(4, "cli", 0x999), line(5, "cli", 0x99a)),
         "exit 4: behind `in` .*came out at 0x999.*AL, AX or EAX"),
        ("another output", story(*PLAIN, output="ho\n"), r'expected "hi.*got "ho'),
        ("another end", story(*PLAIN, end="ended exit code 3 after 9 exits"), "not the end"),
        ("another count in the end", story(*PLAIN, end="ended exit code 0 after 9 exits"), "^same$"),
    ]
    for name, life, pattern in cases:
        got = said(life)
        ok(re.search(pattern, got, re.S), f"explained: {name}", expected=pattern, got=got)
    tick = b"@Z int d1 4 40 00000300\n"
    shown, later = story(*PLAIN[:4], tick, *PLAIN[4:]), story(*PLAIN[:6], tick, *PLAIN[6:])
    reference = trace.parse_reference(trace.Reference(shown, "", "abc").text())
    ok(len(reference.life.exits) == 4 and "after" not in reference.life.end[1]
       and reference.life.interrupts[0].place == "0x300", "a reference trace ends with its first interrupt")
    ok(re.search("exit 4, `sti` .*reference injected vector 0x40 before the next instruction.*never injected",
                 said(story(*PLAIN), reference.life)), "explained: an interrupt that never comes",
       got=said(story(*PLAIN), reference.life))
    ok(said(later, reference.life) == "same" and said(changed(3, b=0), reference.life) != "same",
       "when an interrupt comes is not compared; what comes before it is")
    quiet = tracediff.compare(story(*PLAIN), changed(1, effect="-"))
    ok(not quiet.difference and "exit_effect()" in quiet.notes[0],
       "a handler that does not say what it did is worth a note, no more")
    moved = [line(n, i, rip + 0x40, *rest) for n, i, rip, *rest in
             ((1, "cli", 0x100, "IF", 0), (2, "cli", 0x110, "IF", 0))]
    here = [line(1, "cli", 0x100, "IF", 0), *PLAIN[5:6], line(3, "cli", 0x110, "IF", 0)]
    ok(said(story(*moved), story(*here), exact=False) == "same"
       and said(story(*moved), story(*here)) != "same",
       "another compiler's guest: addresses and emulated accesses are not compared")


def tool(*words, **more):
    """Run tools/trace.py."""
    return run(sys.executable, TOOLS / "trace.py", *words, **more)


def traced(command, test, build, out, *more):
    """`trace.py run` or `diff` on a build."""
    return tool(command, test, "--kernel", build / "zeno.mb", "--elf", build / "zeno.elf", "--out", out,
                *more)


def real(out):
    """The real kernel: references, a solution, a skeleton, a mutant."""
    done = tool("references", "--check")
    ok(done.status == 0, "the reference traces are what the reference does now", said=done.out)
    done = run("make", "--no-print-directory", "-s", "trace", "TEST=hello", "LAB=1", "SOLUTION=1", cwd=ROOT)
    ok(done.status == 0 and re.search(r"^d1 +\d+  #GP  [0-9a-f]{8} outb\+0x\w+ +out +port 3f8 <- 68$",
                                      done.out, re.M)
       and 'd1 prints "hello' in done.out and "build/trace/hello.html" in done.out,
       "make trace prints exits, output and end", got=done.out[-1500:])
    lines = [json.loads(one) for one in (ROOT / "build/trace/hello.jsonl").read_text().splitlines()]
    exits = [one for one in lines if one["type"] == "exit"]
    ok(lines[0]["type"] == "trace" and [one["seq"] for one in exits] == list(range(1, len(exits) + 1))
       and all(one["rip"] and one["next"] and one["insn"] for one in exits)
       and lines[-2]["type"] == "end", "the .jsonl file has all of it", got=lines[-2:])

    done = traced("diff", "hello", BUILDS["solution"], out)
    ok(done.status == 0 and "the same" in done.out, "the reference solution is as the reference", got=done.out)
    done = traced("diff", "cli", BUILDS["skeleton"], out)
    ok(done.status == 1 and "made no exit at all" in done.out and "exercise 1.1 is not done" in done.out,
       "the skeleton's guest makes no exit, and the exercise is named", got=done.out)
    done = traced("diff", "hello", mutant("1.2-no-advance"), out)
    ok(done.status == 1 and "exit 1, `out`" in done.out and "was rip advanced" in done.out,
       "a mutant that does not advance rip is told so", got=done.out)

    seeds = [traced("run", "if-flags", BUILDS["solution"], out, "--seed", seed) for seed in (7, 7, 8)]
    ok(seeds[0].status == 0 and seeds[0].out == seeds[1].out != seeds[2].out
       and "the test if-flags passes" in seeds[0].out,
       "a test of the grader is traced; the same seed gives the same trace", got=seeds[0].out[-600:])
    for words, pattern in ((["nope"], "no guest and no test; there are the guests"),
                           (["hostile"], "say which attack.*call-gate"), ([""], "say what to trace"),
                           (["cli", "--seed", "x"], "a seed is a number"),
                           (["cli", "--lab", "0"], "lab 0 has no guests")):
        done = traced("run", words[0], BUILDS["solution"], out, *words[1:])
        ok(done.status == 2 and re.search(pattern, done.out) and done.out.count("\n") == 1,
           f"{' '.join(words)!r} gets one clear line", got=done.out)


def hardware(out):
    """A lab of hardware is traced on its own machine and CPU, and compared with its own reference: the traces kept are te's."""
    if not (ROOT / "grade/labs/4s.toml").is_file():
        skip("traces of svm and vmx", "this tree has no Lab 4")
        return
    done = traced("diff", "hello", ROOT / "build/lab4s-solution", out, "--lab", "4s")
    ok(done.status == 0 and re.search(r"hello: the same 18\d exits, output and end as the reference", done.out),
       "a guest of svm is compared with the reference", got=done.out)
    if not shutil.which("bochs"):
        skip("traces of vmx", "Bochs is not installed: make demo installs it")
        return
    done = traced("run", "hello", ROOT / "build/lab4-solution", out, "--lab", "4")
    ok(done.status == 0 and re.search(r"^d1 +\d+  no trap [0-9a-f]{8} outb\+0x\w+ +out +port 3f8 <- 68$", done.out, re.M)
       and "d1 hello ended: exit code 0" in done.out, "a guest of vmx is traced on Bochs", got=done.out[-1500:])


def mutant(name):
    """Build a kernel with a mistake: a copy of the tree, in which only the changed file is made again."""
    tree = folder() / "tree"
    mutants.scratch(tree)
    for place in ("lab1-solution", "guest"):
        shutil.copytree(ROOT / "build" / place, tree / "build" / place)
    mutants.apply(mutants.find(name), tree)
    # The directory's name is among the flags; that alone is no reason to compile all again.
    done = run("make", "-s", "-o", "build/lab1-solution/flags", "LAB=1", "SOLUTION=1",
               "build/lab1-solution/zeno.mb", cwd=tree)
    ok(done.status == 0, f"a kernel with the mistake {name} builds", said=done.out)
    return tree / "build" / "lab1-solution"


# -- the page -----------------------------------------------------------------------------------------

SCRIPT = """<script>
const said = [], press = (id, key) => document.getElementById(id).dispatchEvent(
	new KeyboardEvent("keydown", { key: key, bubbles: true, cancelable: true }));
const note = name => said.push(name + "=" + (state.chosen ? state.chosen.seq : "none") + "/" + state.shown.length);
const choosing = reason => {
	const box = document.querySelector(`#reasons input[value=${reason}]`);
	box.click();
};
note("begin");
press("list", "ArrowDown"); note("down");
press("lanes", "ArrowRight"); note("right");
press("list", "End"); note("end");
press("list", "PageUp"); note("pageup");
choosing("IO"); note("without IO");
press("list", "Home"); note("home");
const where = document.getElementById("where");
where.value = "0x130";
where.dispatchEvent(new Event("input")); note("where");
document.getElementById("reset").click(); note("reset");
choose(nearest(0, 0)); note("click");
document.getElementById("diff-go").click(); note("go");
document.body.append(Object.assign(document.createElement("pre"), { id: "said", textContent: said.join("\\n") }));
</script></body>"""

WANTED = """begin=4/7
down=5/7
right=6/7
end=7/7
pageup=1/7
without IO=1/4
home=1/4
where=none/1
reset=none/7
click=1/7
go=4/7"""


def made_page(out):
    """A page with a difference at exit 4, and a guest that prints HTML."""
    life = changed(4, flag=0)
    side = (b"@Z start d1 made-up\n@Z out d1 " + b"</script><b id=bad>&".hex().encode() + b"\n" + b"".join(PLAIN)
            + b"@Z int d1 7 40 00000300\n@Z end d1 ended exit code 0 after 7 exits\n")
    reader = trace.read(side)
    reader.lives[0].exits[3].flag = 0
    events = [trace.event_data(event) for event in reader.events]
    result = tracediff.compare(story(*PLAIN), life)
    head = {"type": "trace", "test": "made-up", "lab": 1, "remarks": ["a <remark>"]}
    path = out / "page.html"
    path.write_text(trace_page.page(head, events, result, story(*PLAIN)), encoding="utf-8")
    return path


def chromium(url, *options):
    """Run chromium without a window; its standard output, or None if it does not run here."""
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={folder()}",
             "--hide-scrollbars", "--window-size=1200,1200", *options, url]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def dump(path, fragment=""):
    """The page's document after its script has run."""
    return chromium(f"file://{path}{fragment}", "--dump-dom")


def picture(path, name, *options):
    """A screenshot for people: build/tests/NAME. True if there is something on it."""
    target = ROOT / "build" / "tests" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    chromium(f"file://{path}", f"--screenshot={target}", *options)
    return target.is_file() and target.stat().st_size > 20_000


def element(document, name):
    """The text of the element with this id, which holds no other such element."""
    found = re.search(rf'<(\w+)[^>]*\bid="{name}"[^>]*>(.*?)</\1>', document, re.S)
    return html.unescape(re.sub(r"<[^>]*>", " ", found[2])) if found else None


def page(out):
    """What the page shows and does."""
    path = made_page(out)
    text = path.read_text(encoding="utf-8")
    ok(not re.search(r"(?:src|href)\s*=|@import|url\(|https?:|fetch\(|XMLHttp", text),
       "the page needs nothing from elsewhere")
    ok(text.count("</script>") == 2 and "bad>" not in text, "what a guest prints can't leave its data")
    long = [{"type": "exit"}] * (trace_page.MOST + 5) + [{"type": "out"}, {"type": "end"}]
    kept, count = trace_page.kept(long)
    ok(len(kept) == trace_page.MOST + 1 and count == trace_page.MOST + 5, "an endless trace is cut, and it is said")
    names = ["keys, filters and clicks choose exits", "the record and the difference are shown",
             "the address's fragment filters and chooses", "screenshots: build/tests/trace-*.png",
             "an interrupt stands behind its exit"]
    if not shutil.which("chromium"):
        for name in names:
            skip(name, "chromium is not here: apt-get install chromium")
        return
    acting = out / "acting.html"
    acting.write_text(text.replace("</body>", SCRIPT))
    document = dump(acting)
    if document is None:
        for name in names:
            skip(name, "chromium is here and does not run")
        return
    ok(element(document, "said") == WANTED, names[0], expected=WANTED, got=element(document, "said"))
    fields = element(document, "fields") or ""
    ok(element(document, "record-head") == "Exit 4 of made-up" and "reference: 1" in fields
       and "IF is 1 in the reference and 0" in (element(document, "diff-text") or "")
       and element(document, "printed") == "</script><b id=bad>&" and 'id="bad"' not in document
       and "a <remark>" in (element(document, "remarks") or ""),
       names[1], fields=fields, diff=element(document, "diff-text"))
    last = dump(path, "#exit=7") or ""
    ok("vector 40, to its handler at 0x300" in (element(last, "fields") or ""), names[4], got=element(last, "fields"))
    document = dump(path, "#reason=IO&where=12&exit=3") or ""
    rows = re.findall(r'role="option" aria-selected="(\w+)"', document)
    ok(rows == ["true"] and element(document, "shown") == "1 of 7 exits"
       and element(document, "record-head") == "Exit 3 of made-up", names[2], got=rows)
    real_page = ROOT / "build/trace/hello.html"
    ok(picture(real_page, "trace-light.png") and picture(real_page, "trace-dark.png", "--force-dark-mode"),
       names[3])


def main():
    out = folder()
    reading()
    explaining()
    real(out)
    hardware(out)
    page(out)
    finish()


main()
