#!/usr/bin/env python3
"""Every lab, solution and skeleton, builds with gcc and clang without a warning; and how it is built."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(TOOLS))
from course import lab_numbers  # noqa: E402


SOLUTIONS = ("", "1") if (ROOT / "solutions").is_dir() else ("",)
VARIANTS = [("all", "1")] * ("1" in SOLUTIONS) + [(lab, "") for lab in [*lab_numbers(), "all"]]
"""What compiles every file: a lab's skeleton has files of its own, where what it needs is done in part."""
COMPILES = re.compile(r"\{ (clang .*?) -MMD .* -o (\S+\.o)\.\$\$ (\S+\.c) ")


def gcc_variants():
    """Every lab's files. The kernels that are linked of them are those that `make check` builds before any test."""
    for lab, solution in VARIANTS:
        done = run("make", "-j2", "WERROR=1", f"LAB={lab}", f"SOLUTION={solution}", "compiled", cwd=ROOT)
        ok(done.status == 0, f"gcc -Werror: lab {lab}, {'solution' if solution else 'skeleton'}, and all guests",
           out=done.out[-3000:])


def front_end(command):
    """What clang would start to compile a file, without the file: it takes any number of them."""
    said = run("sh", "-c", f"{command} -### -c -o x.o -x c -").out.splitlines()[-1]
    found, words = [], iter(shlex.split(said))
    for word in words:
        if word in ("-main-file-name", "-o", "-x"):
            next(words)
        elif word != "-":
            found.append(word)
    return found + ["-x", "c"]


def clang_variants():
    """Every lab's files, in a copy of the tree: some hundreds of a kind at once, since clang's start costs ten times what a
    file does. Of the kernels all solutions in one and all skeletons in one are linked, and in check-all each lab's."""
    if not shutil.which("clang"):
        skip("clang: all labs", "clang is not here")
        return
    there, kinds = copy(), {}
    flags = [f"build/{place}-clang/flags" for place in ("guest", "user")]
    for lab, solution in VARIANTS:
        words = ["CC=clang", "WERROR=1", f"LAB={lab}", f"SOLUTION={solution}"]
        for command, made, source in COMPILES.findall(run("make", "-n", *words, cwd=there).out):
            kinds.setdefault(command, {}).setdefault(source, set()).add(made)  # a guest's for a lab lies in the kernel's store, too
    run("make", *words, *flags, cwd=there)  # what is compiled here is newer
    ok(len(kinds) == 5 and sum(map(len, kinds.values())) > 300, "clang compiles the kernel, two kinds of guests, labs' files in them, and ring 3",
       got=kinds)
    for command, files in kinds.items():
        done = run(*front_end(f"{command} -Werror"), *files, cwd=there)
        ok(done.status == 0, f"clang -Werror: {next(iter(files))} and all that is compiled like it", out=done.out[-3000:])
        for source, places in files.items():
            for made in places:
                (there / made).parent.mkdir(parents=True, exist_ok=True)
                if (there / source).with_suffix(".o").is_file():
                    shutil.copy((there / source).with_suffix(".o"), there / made)
    for solution in SOLUTIONS:
        for lab in [*lab_numbers(), "all"] if os.environ.get("ZENO_ALL") else ["all"]:
            done = run("make", "-j2", "CC=clang", "WERROR=1", f"LAB={lab}", f"SOLUTION={solution}", cwd=there)
            ok(done.status == 0 and "cc   " not in done.out.replace("cc   grade/plugin", ""),
               f"clang: lab {lab}, {'solution' if solution else 'skeleton'}, and all guests are linked", out=done.out[-3000:])


def copy():
    """The tree's own files somewhere else, in a folder with a space in its name."""
    there = folder() / "zeno again"
    names = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT,
                           capture_output=True, check=True).stdout.decode().split("\0")
    for name in names:
        if name and (ROOT / name).is_file():
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, there / name)
    return there


def habits():
    there = copy()
    image = "build/lab0/zeno.mb"
    done = run("make", "-j2", "LAB=0", image, cwd=there)
    if not ok(done.status == 0, "builds in a folder with a space in its name", out=done.out[-3000:]):
        return None
    first = (there / image).read_bytes()
    done = run("make", "LAB=0", image, cwd=there)
    ok(done.status == 0 and "cc " not in done.out and "ld " not in done.out,
       "a second make has nothing to do", out=done.out)
    again = copy()
    run("make", "-j2", "LAB=0", image, cwd=again, env={"CCACHE_DISABLE": "1"})
    ok((again / image).read_bytes() == first, "the same sources give the same bytes elsewhere")
    with open(there / "kern/kern.h", "a", encoding="ascii") as file:
        file.write("#define SOMETHING_NEW\n")
    done = run("make", "LAB=0", image, cwd=there)
    ok("cc   kern/printf.c" in done.out and "nasm kern/boot/entry.asm" not in done.out,
       "a changed header builds again what includes it, and nothing else", out=done.out)
    commands = there / "labs/0-boot/commands.c"
    text = commands.read_text()
    commands.write_text(text + "static int\nnobody_calls(void)\n{\n\treturn 1;\n}\n")
    done = run("make", "LAB=0", image, cwd=there)
    ok(done.status == 0 and "nobody_calls" in done.out, "a warning is said, and stops nothing", out=done.out[-2000:])
    done = run("make", "LAB=0", "WERROR=1", image.replace("lab0", "lab0-werror"), cwd=there)
    ok(done.status != 0 and "nobody_calls" in done.out, "but a build with WERROR=1, that finds the object there",
       out=done.out[-2000:])
    (there / "guest/hello/zz.c").write_text("static int\nnobody_calls(void)\n{\n\treturn 1;\n}\n")
    done = [run("make", word, "build/guest/hello.elf", cwd=there) for word in ("LAB=0", "WERROR=1")]
    ok([one.status == 0 for one in done] == [True, False] and all("nobody_calls" in one.out for one in done),
       "so with a guest's", out=[one.out[-1000:] for one in done])
    done = [run("make", "LAB=0", *words, "build/guest/traps.elf", cwd=there) for words in ([], ["-W", "guest/lib/stubs.inc"])]
    ok(done[1].status == 0 and "nasm guest/traps/asm.asm" in done[1].out and "cc " not in done[1].out,
       "and what a guest includes is assembled again", out=[one.out[-1000:] for one in done])
    commands.write_text(text)
    (there / "kern/zz_twice.c").write_text("#include <kern/kern.h>\nint\nputs_twice(void)\n"
                                           "{\n\treturn 0;\n}\n")
    (there / "labs/0-boot/commands.c").open("a").write("int puts_twice(void);\nint\n"
                                                       "puts_twice(void)\n{\n\treturn 1;\n}\n")
    done = run("make", "LAB=0", image, cwd=there)
    ok(done.status != 0 and "multiple definition" in done.out,
       "a lab's file can't displace a function of the kernel", out=done.out[-2000:])
    (there / "kern/zz_twice.c").unlink()
    (there / "labs/0-boot/commands.c").open("a").write("this is no C\n")
    done = run("make", "LAB=0", image, cwd=there)
    ok(done.status != 0 and "labs/0-boot/commands.c:" in done.out,
       "a mistake is reported with its place", out=done.out[-2000:])
    done = run("make", "LAB=0", "CROSS=nowhere-", image, cwd=there)
    ok(done.status != 0 and "nowhere-gcc" in done.out, "CROSS is the prefix of the target's programs",
       out=done.out[-2000:])
    return again


def included():
    """Who includes a file is assembled again when it changes: NASM does not tell make. Of guests -n would say so anyway."""
    wanted = {}
    for asm in (asm for room in ("kern", "vmm", "trials", "solutions") for asm in (ROOT / room).rglob("*.asm")):
        for name in re.findall(r'^\s*%include\s+"(.*)"', asm.read_text(), re.M):
            wanted.setdefault(name, set()).add(str(asm.relative_to(ROOT)))
    made, again = (set(re.findall(r'^echo "nasm ((?!guest|user).*)"$', "".join(
        run("make", "-n", f"LAB={lab}", "SOLUTION=1", *words, "build").out for lab in ("all", "6")), re.M))
        for words in ([], [word for name in wanted for word in ("-W", name)]))
    missing = set().union(*wanted.values()) - again
    ok(len(wanted) > 5 and not made and not missing, "files that include a changed .inc are assembled again", made=made, missing=missing)


def no_build_inputs_from_labs(there):
    """In a tree whose kernel is compiled but for the lab: its files are new, and some of them are no student's business."""
    for path in (there / "labs/0-boot").iterdir():
        path.touch()
    for name, text in (("Makefile", "$(shell touch pwned)\n"), ("GNUmakefile", "x:\n\ttouch pwned\n"),
                       ("0.mk", "$(shell touch pwned)\n"), ("course.py", "open('pwned', 'w')\n"),
                       ("region.py", "open('pwned', 'w')\n"), ("a$(touch pwned).c", "int x;\n")):
        (there / "labs/0-boot" / name).write_text(text)
    done = run("make", "-j2", "LAB=0", cwd=there)
    ok(done.status == 0 and "cc   labs/0-boot/commands.c" in done.out and not list(there.rglob("pwned")),
       "nothing of labs/ is run on this machine", out=done.out[-2000:])


gcc_variants()
clang_variants()
if "1" in SOLUTIONS:
    included()
built = habits()
if built:
    no_build_inputs_from_labs(built)
finish()
