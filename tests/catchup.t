#!/usr/bin/env python3
"""Catch-up objects: fresh ones link and boot, stale ones and another compiler's are refused in one line."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.judging import alone, build, course  # noqa: E402
from zeno.machines import machine  # noqa: E402

IMAGE = "build/lab1/zeno.mb"


def student(place):
    """A student's tree with lab 0 not done."""
    done = run("make", "student", f"OUT={place}", cwd=ROOT)
    if done.status:
        print(f"Bail out! make student: {done.out!r}")
        sys.exit(1)


def make(tree, *words):
    """Build lab 1 in a tree."""
    return run("make", "--no-print-directory", "-j2", "LAB=1", *words, cwd=tree)


def refused(done, words, what):
    """One line of our own beside make's, which says what is wrong and what to do; nothing was compiled."""
    lines = [line for line in done.out.splitlines() if not line.startswith(("make: ", "note: "))]
    ok(done.status != 0 and len(lines) == 1 and words in lines[0]
       and "Get new ones from your course, or remove catchup/0-boot" in lines[0], what, out=done.out)


def boots(tree):
    """Does the kernel come to its prompt, with the page allocator of the reference?"""
    if machine.missing("qemu"):
        skip("the kernel boots", machine.missing("qemu"))
        return
    result = machine.boot(machine="qemu", kernel=str(tree / IMAGE), cmdline="panic=off -- frames-trial 7 100; off",
                          cpu="te", limits=machine.Limits(instructions=400_000_000))
    text = result.console.decode("ascii", "replace")
    end = result.end
    result.cleanup()
    ok(end is machine.End.SHUTDOWN and "all came back" in text and "is not done" not in text,
       "the kernel boots, with the page allocator of the reference", end=end, text=text[-1500:])


def backstop(tree, objects):
    """The linker itself refuses what `stamp` did not see."""
    stamp = (tree / "build/lab1/catchup.asm").read_text()
    other = folder()
    (other / "s.asm").write_text(re.sub(r"_[0-9a-f]{16}\b", "_" + "0" * 16, stamp))
    for name, text in (("fits", stamp), ("stale", (other / "s.asm").read_text())):
        (other / f"{name}.asm").write_text(text)
        run("nasm", "-f", "elf64", "-o", other / f"{name}.o", other / f"{name}.asm")
    words = ["ld", "-m", "elf_x86_64", "-e", "0", "-o", other / "x", *sorted(objects.glob("*.o"))]
    ok("undefined reference to `catchup_lab0_" in run(*words, other / "stale.o").out
       and "catchup_lab0_" not in run(*words, other / "fits.o").out,
       "the symbol is really needed: the linker refuses stale objects too")


def half(place):
    """Half a lab's objects: they stand in for files that others need, and for the others' exercises when graded."""
    tree = place / "tree"
    student(tree)
    for name in ("1A", "0B"):
        done = run("make", "catchup", f"LAB={name}", f"OUT={tree / 'catchup'}", cwd=ROOT)
        ok(done.status == 0, f"make catchup LAB={name}", out=done.out)
    names = {str(path.relative_to(tree / "catchup")) for path in (tree / "catchup").rglob("*.o")}
    ok(names == {f"1-trap-emulate-A/{name}.o" for name in ("enter.asm", "state_convert.c", "emulate.c", "segments.c")}
       | {f"0-boot-B/{name}.o" for name in ("gate.c", "walk.c", "gate_entry.asm")}, "a half's files only", got=names)
    done = run("make", "-n", "LAB=1B", "build/lab1B/zeno.mb", cwd=tree)
    ok("catchup/1-trap-emulate-A/emulate.c.o" in done.out and "labs/1-trap-emulate/reflect.c" in done.out
       and "labs/1-trap-emulate/emulate.c" not in done.out, "the second half is built on them", out=done.out[-900:])
    done = run("make", "-n", "LAB=1A", "build/lab1A/zeno.mb", cwd=tree)
    ok("labs/1-trap-emulate/emulate.c" in done.out and "catchup/1-" not in done.out, "the first half is not",
       out=done.out[-900:])
    shutil.copy(ROOT / "solutions/0-boot/walk.c", tree / "labs/0-boot/walk.c")
    with open(tree / "labs/0-boot/gate.c", "a", encoding="ascii") as file:
        file.write("this is no C\n")
    said = [run("python3", tree / "tools/labinfo.py", "make", "--lab", lab, "--alone", exercise, cwd=tree).out
            for lab, exercise in (("0B", "0.5"), ("1B", "1.7"))]
    ok("the compiled reference in catchup/0-boot-B for gate_entry.asm, walk.c;" in said[0] and "neither" not in said[0]
       and "ALONE=1.7: neither the reference nor catchup/1-trap-emulate-B is here: the other exercises of lab 1B are your own" in said[1],
       "ALONE says what stands in for the others, or that nothing does", got=said)
    shops = [alone.Alone(alone.Reference(lab, tree), build.take_folder(ROOT / "solutions" / lab.dir, lab), None, tree, [])
             for lab in map(course.load, ("0B", "1B"))]
    ok(shops[0].possible("0.6") and shops[0].others("0.6") == "the compiled reference's gate.c, gate_entry.asm",
       "... and so does the grader", got=shops[0].others("0.6"))
    ok(not shops[1].possible("1.7"), "objects of the half that an assignment rests on are none of its own exercises'")
    if machine.missing("qemu"):
        skip("graded at home", machine.missing("qemu"))
        return
    done = run("make", "grade", "LAB=0B", "ONLY=va-own", cwd=tree)
    ok("0.6 A walk of the page tables (6 of 6 points)" in done.out, "at home, an exercise among catch-up objects",
       out=done.out[-2000:])


def main():
    if not (ROOT / "solutions").is_dir():
        print("1..0 # SKIP no solutions in this tree")
        return
    out, tree = folder() / "out", folder() / "tree"
    done = run("make", "catchup", "LAB=0", f"OUT={out}", cwd=ROOT)
    objects = out / "0-boot"
    ok(done.status == 0 and {path.name for path in objects.iterdir()} ==
       {"backtrace.c.o", "commands.c.o", "frames.c.o", "gate.c.o", "gate_entry.asm.o", "walk.c.o", "CATCHUP"}, "make catchup: an object for each source",
       out=done.out)
    ok(b"EXERCISE" not in b"".join(p.read_bytes() for p in objects.iterdir())
       and not any(b".debug_" in p.read_bytes() for p in objects.glob("*.o")), "without lines of the source")
    first = {path.name: path.read_bytes() for path in objects.iterdir()}
    done = run("make", "catchup", "LAB=0", f"OUT={out}", cwd=ROOT)
    ok(done.status == 0 and {path.name: path.read_bytes() for path in objects.iterdir()} == first,
       "made again, they are the same bytes", out=done.out)

    student(tree)
    done = run("make", "catchup", "LAB=0", f"OUT={folder()}", cwd=tree)
    ok(done.status != 0 and "is not here" in done.out, "a student's tree can't make them", out=done.out)
    shutil.copytree(objects, tree / "catchup/0-boot")
    done = make(tree, IMAGE)
    ok(done.status == 0 and "labs/0-boot/frames.c" not in done.out
       and re.search("note: lab 0: the compiled reference in catchup/0-boot for .*frames.c.*, not labs/0-boot", done.out),
       "fresh objects are linked instead of labs/0-boot", out=done.out[-1500:])
    boots(tree)
    done = make(tree, IMAGE)
    ok(done.status == 0 and "ld " not in done.out and "cc " not in done.out, "a second make has nothing to do",
       out=done.out)
    backstop(tree, objects)
    done = run("make", "-n", "LAB=0", "build/lab0/zeno.mb", cwd=tree)
    ok(done.status == 0 and "catchup/" not in done.out, "lab 0 itself is built from labs/0-boot", out=done.out[-900:])
    done = run("git", "status", "--short", cwd=tree)
    ok(done.out == "", "git does not see them", out=done.out)

    header = tree / "inc/addr.h"
    text = header.read_text()
    header.write_text(text + "/* new */\n")
    refused(make(tree, IMAGE), "inc/addr.h changed since they were made", "a changed header")
    header.write_text(text)
    ok(make(tree, IMAGE).status == 0, "the old header back again: they fit")
    if shutil.which("clang"):
        refused(make(tree, "CC=clang", "build/lab1-clang/zeno.mb"), "made by gcc", "another compiler")
    else:
        skip("another compiler", "clang is not here")
    newer = folder() / "gcc"
    newer.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "gcc (Debian) 99.1.0" && exit\nexec gcc "$@"\n')
    newer.chmod(0o755)
    refused(make(tree, f"CC={newer}", IMAGE), "this is gcc (Debian) 99.1.0", "another version of the compiler")
    garbled = tree / "catchup/0-boot/frames.c.o"
    data = garbled.read_bytes()
    garbled.write_bytes(re.sub(rb"(catchup_lab0_)[0-9a-f]{16}", rb"\g<1>" + b"0" * 16, data))
    refused(make(tree, IMAGE), "not what their CATCHUP file says", "one object of another making")
    garbled.write_bytes(data)
    garbled.unlink()
    done = make(tree, IMAGE)
    ok(done.status != 0 and "frames.c.o is missing" in done.out, "a folder that is not whole", out=done.out)

    half(folder())
    for words, want in (((), "say which lab"), (("LAB=0A",), "say which lab"),
                        (("LAB=99", f"OUT={out}"), "no such lab"),
                        (("LAB=0", f"OUT={ROOT / 'solutions'}"), "there already")):
        done = subprocess.run(["make", "--no-print-directory", "catchup", *map(str, words)], cwd=ROOT,
                              capture_output=True, text=True, check=False)
        ok(done.returncode != 0 and want in done.stderr and len(done.stderr.splitlines()) == 2,
           f"refused in a line: {' '.join(words) or 'nothing'}".replace(str(ROOT), "").replace(str(out), "out"),
           out=done.stderr)
    finish()


if __name__ == "__main__":
    main()
