#!/usr/bin/env python3
"""Compiled reference objects of a lab, for students who could not finish it before its deadline.

    catchup.py pack --lab N --out DIR ...     the course: compile solutions/N-topic into DIR/N-topic (1A: DIR/1-topic-A)
    catchup.py stamp --out FILE --folders FOLDER... the students' build: define what the objects ask for

Every object refers to a symbol whose name ends in a hash of all headers that it was compiled with, of the
compiler and of the flags. The students' build makes the same hash of what is there, and defines that symbol
alone. So an object that does not fit can't be linked; and since a linker's words help nobody, `stamp` looks
first and says in one line what has changed and what to do.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import trouble
from compiled import FACTS, PLACE, folder_of, sources_of
from course import NUMBER, ROOT, SAFE_NAME, CourseError, load_lab, parse_lab

FORMAT = 1
SYMBOL = re.compile(rf"\0(catchup_lab{NUMBER}_[0-9a-f]{{16}})\0".encode())


class CatchupError(Exception):
    """One line for a person."""


# -- what the hash is made of ----------------------------------------------------------------------


def version(command):
    """What a compiler calls itself, without the name by which it was called."""
    try:
        done = subprocess.run([*shlex.split(command), "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise CatchupError(f"{command}: {error.strerror.lower()}") from None
    words = done.stdout.split("\n")[0].split()
    if done.returncode or not words:
        raise CatchupError(f"{command} --version says nothing")
    if "clang" in done.stdout.split("\n")[0]:
        return " ".join(words)
    return " ".join(["gcc" if words[0].endswith("gcc") else words[0], *words[1:]])


def plain(flags):
    """The flags that change what is compiled: no warnings, no path of this tree."""
    return " ".join(word for word in shlex.split(flags)
                    if not word.startswith(("-W", "-w+", "-ffile-prefix-map=")))


def for_lab(args, lab):
    """The commands for a lab's files: what is a part of guests is compiled as those are."""
    if lab.guests:
        args = argparse.Namespace(**vars(args) | {"cflags": args.guest_cflags})
    return args


def toolchain(args):
    """The compiler and the assembler, by what matters."""
    nasm = subprocess.run([args.nasm, "-v"], capture_output=True, text=True, check=False).stdout.split()
    return {"compiler": version(args.cc), "flags": plain(args.cflags),
            "assembler": " ".join(nasm[:3]), "assembler's flags": plain(args.nasmflags)}


def sums(names):
    """{header: SHA-256, or what says that it is not there}."""
    found = {}
    for name in sorted(names):
        path = ROOT / name
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "not there"
    return found


def symbol(number, facts):
    """The name that objects with these facts refer to."""
    text = json.dumps([FORMAT, facts["tools"], facts["headers"]], sort_keys=True)
    return f"catchup_lab{number}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


# -- the course's side -----------------------------------------------------------------------------


def tool(command):
    """Run a compiler; what it says is an error's text."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CatchupError(f"{shlex.join(command[:1])} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def commands(args, source):
    """(what lists a source's headers, what compiles it)."""
    if source.endswith(".c"):
        base = [*shlex.split(args.cc), *shlex.split(args.cflags)]
        return [*base, "-MM", source], [*base, "-c", source]
    base = [args.nasm, *shlex.split(args.nasmflags)]
    return [*base, "-M", source], [*base, source]


def headers(args, sources):
    """Every file that the sources include, but for the lab's own."""
    found = set()
    for source in sources:
        text = tool(commands(args, source)[0]).replace("\\\n", " ")
        found |= {os.path.normpath(word) for word in text.split(":", 1)[1].split()}
    return {name for name in found if not name.startswith("solutions/")}


def compile_into(args, source, name, scratch, out):
    """One object that refers to the symbol `name`; no debug information, which would show the source's lines."""
    command = commands(args, source)[1]
    target = out / f"{Path(source).name}.o"
    if source.endswith(".c"):
        ask = scratch / "ask.h"
        ask.write_text(f'__asm__(".pushsection .rodata.catchup,\\"a\\"\\n.balign 8\\n.quad {name}\\n.popsection");\n')
        command += ["-include", str(ask)]
    else:
        ask = scratch / "ask.inc"
        ask.write_text(f"extern {name}\nsection .rodata\n\talign 8\n\tdq {name}\nsection .text\n")
        command += ["-P", str(ask)]
    tool([*command, "-o", str(target)])
    tool([args.objcopy, "--strip-debug", str(target)])
    if asked(target) != name:
        raise CatchupError(f"{target.name} does not refer to {name}")


def pack(args):
    """Compile a lab's reference into --out."""
    if not args.lab or not args.out:
        raise CatchupError("say which lab, and where to: make catchup LAB=n OUT=dir")
    lab = parse_lab(args.lab)
    if not lab.solutions.is_dir():
        raise CatchupError(f"the reference (solutions/{lab.dir}) is not here: catch-up objects are made in the "
                           "course's own tree")
    out = Path(args.out).absolute() / folder_of(lab, lab.half)
    if os.path.lexists(out) and not (out / FACTS).is_file():
        raise CatchupError(f"{str(out)!r} is there already and holds no catch-up objects")
    sources, args = [f"solutions/{lab.dir}/{name}" for name in sources_of(lab, lab.half)], for_lab(args, lab)
    facts = {"format": FORMAT, "lab": lab.number, "version": lab.version, "tools": toolchain(args),
             "headers": sums(headers(args, sources))}
    name = symbol(lab.number, facts)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".catchup-", dir=out.parent) as scratch:
        fresh = Path(scratch) / "new"
        fresh.mkdir()
        for source in sources:
            compile_into(args, source, name, Path(scratch), fresh)
        (fresh / FACTS).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
        if out.exists():
            shutil.rmtree(out)
        fresh.rename(out)
    print(f"{out}: {len(sources)} objects, {name}")
    print(f"students put this folder into their tree as {PLACE}/{out.name}; what needs lab {lab.name} then uses it")


# -- the student's side ----------------------------------------------------------------------------


def asked(path):
    """The symbol that an object refers to, or None."""
    found = set(SYMBOL.findall(path.read_bytes()))
    return found.pop().decode() if len(found) == 1 else None


def read_facts(place):
    """What CATCHUP says, checked."""
    try:
        facts = json.loads((place / FACTS).read_text())
        names = [*facts["headers"]]
        good = all(SAFE_NAME.match(part) for name in names for part in name.split("/")) and \
            isinstance(facts["tools"], dict) and re.fullmatch(NUMBER, str(facts["lab"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise CatchupError(f"{PLACE}/{place.name}/{FACTS} can't be read")
    return facts


def difference(facts, here):
    """In words, the first thing that is not as it was when the objects were made."""
    for key, value in here["tools"].items():
        if facts["tools"].get(key) != value:
            if "flags" in key:
                return f"made with other {key}"
            return f"made by {facts['tools'].get(key)}, and this is {value}"
    changed = [name for name, value in here["headers"].items() if facts["headers"][name] != value]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return f"{changed[0]}{more} changed since they were made"
    return "they are not what their CATCHUP file says"


def check(args, place):
    """The symbol to define for the objects in a folder; CatchupError if they don't fit."""
    facts = read_facts(place)
    lab = load_lab(facts["lab"])
    here = {"tools": toolchain(for_lab(args, lab)), "headers": sums(facts["headers"])}
    name = symbol(lab.number, here)
    for path in sorted(place.glob("*.o")):
        if asked(path) != name:
            raise CatchupError(
                f"{PLACE}/{place.name} does not fit this tree: {difference(facts, here)}. Get new ones from your "
                f"course, or remove {PLACE}/{place.name} to build your own labs/{lab.dir}.")
    return name


def stamp(args):
    """Write the assembly file that defines the symbols of these folders."""
    names = [check(args, ROOT / folder) for folder in args.folders]
    text = "".join(f"global {name}\n{name} equ 0\n" for name in names)
    out = ROOT / args.out
    if not out.is_file() or out.read_text() != text:
        out.write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["pack", "stamp"])
    for name in ("--cc", "--cflags", "--nasm", "--nasmflags"):
        parser.add_argument(name, required=True)
    parser.add_argument("--guest-cflags", default="")
    parser.add_argument("--objcopy", default="objcopy")
    parser.add_argument("--lab", default="")
    parser.add_argument("--out", default="")
    parser.add_argument("--folders", nargs="*", default=[])
    args = parser.parse_args()
    try:
        (pack if args.command == "pack" else stamp)(args)
    except (CatchupError, CourseError) as error:
        print(f"catchup: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"catchup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
