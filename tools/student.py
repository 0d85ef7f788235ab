#!/usr/bin/env python3
"""Export a tree for students: `student.py DIR`.

The new repository has one commit and no history. It holds what this tree holds, but for what
course.toml leaves out, labs/ freshly made from the solutions, and a README of its own. Of the mutants it gets the symptoms
and hints, and of the exercises their hints, so that `make grade EXPLAIN=1` works there, and none of the patches. If a line of a solution
is found in it, there is no export.
"""

import argparse
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import hint
import mutants
import region
import trouble
from course import ROOT, CourseError, lab_numbers, load_lab
from leaks import Secrets
from skeletons import generate, hints_setting, put

README = "tools/student-readme.md"
ALWAYS_OUT = [README, "solutions", "solutions/*", "labs/*", "build/*", ".git/*", "*/unplaced-*.txt"]


def git(*words, cwd):
    """Run git without the settings of whoever calls us."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env["GIT_CONFIG_NOSYSTEM"] = "1"
    env["GIT_CONFIG_GLOBAL"] = os.devnull
    done = subprocess.run(["git", *words], cwd=cwd, env=env, capture_output=True, check=False)
    if done.returncode:
        raise CourseError(f"git {words[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def all_files(root):
    """Names of the tree's files: those that git knows or would take."""
    if (root / ".git").exists():
        out = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=root)
        names = {name for name in out.decode("utf-8", "surrogateescape").split("\0") if name}
    else:
        names = {str(p.relative_to(root)) for p in root.rglob("*")
                 if "__pycache__" not in p.parts}
    return sorted(n for n in names if (root / n).is_file() and not (root / n).is_symlink())


def left_out(name, patterns):
    """True if a pattern names the file or a directory that it is in."""
    parts = name.split("/")
    heads = ["/".join(parts[:i + 1]) for i in range(len(parts))]
    return any(fnmatch.fnmatchcase(head, pattern) for head in heads for pattern in patterns)


def patterns_of(root):
    """What course.toml leaves out."""
    with open(root / "course.toml", "rb") as file:
        return tomllib.load(file).get("export", {}).get("leave_out", [])


def quoted(text):
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False)


def hints(root, lab):
    """The text of grade/hints/labN.toml: what students may know of the mutants, and the exercises' hints."""
    number = lab.number
    lines = ["# What common mistakes look like, and what to look at. Made by the export.\n"]
    for one in mutants.load_all(root, number):
        lines.append(f"[[hints]]\nexercise = {quoted(one.exercise)}\n"
                     f"symptom = {quoted(one.symptom)}\nhint = {quoted(one.hint)}\n")
    graded = hint.of_lab(root, lab) if hints_setting(root) == "demand" else {}
    if graded:
        lines.append("# `make hint EX=n.k` opens these one after the other.\n")
    for exercise, texts in graded.items():
        lines.append(f"[[graded]]\nexercise = {quoted(exercise)}\nhints = [\n"
                     + "".join(f"    {quoted(text)},\n" for text in texts) + "]\n")
    return "\n".join(lines)


def put_end(root, out, name):
    """A guest with the reference's files, compiled: what the grader sets at the other end of a student's."""
    made = root / "build" / "guest" / "ends" / f"{name}.elf"
    if not made.is_file():
        raise CourseError(f"{made.relative_to(root)} is not there: `make student` makes it")
    target = out / "guest" / "ends" / made.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made, target)


def copy(root, out):
    """Fill `out` with what students get."""
    patterns = ALWAYS_OUT + patterns_of(root) + (["grade/rules.toml"] if hints_setting(root) == "none" else [])
    for name in all_files(root):
        if left_out(name, patterns):
            continue
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)
        shutil.copymode(root / name, target)
    if (root / README).is_file():
        shutil.copyfile(root / README, out / "README.md")
    for number in lab_numbers(root):
        if left_out(f"grade/labs/{number}.toml", patterns):
            continue
        lab = load_lab(number, root)
        if not lab.names():  # a lab that is being made: it has rooms, and no exercise yet
            continue
        if not lab.solutions.is_dir():
            raise CourseError(f"solutions/{lab.dir} is not here: lab {number} can't be handed out")
        for name, text in generate(lab).items():
            put(out / "labs" / lab.dir / name, text)
        for name in lab.guests:
            put_end(root, out, name)
        if mutants.load_all(root, number) or hint.of_lab(root, lab):
            put(out / "grade" / "hints" / f"lab{number}.toml", hints(root, lab))


def commit(out):
    """One commit, by nobody in particular."""
    git("init", "-q", "-b", "main", cwd=out)
    git("add", "-A", "-f", cwd=out)
    git("-c", "user.name=Zeno", "-c", "user.email=zeno@localhost", "-c", "commit.gpgsign=false",
        "-c", f"core.hooksPath={os.devnull}", "commit", "-q", "-m", "Zeno: the labs", cwd=out)


def export(root, out):
    """Make the export, or leave nothing."""
    if not (root / "solutions").is_dir():
        raise CourseError("solutions/ is not here: export from the course's own tree")
    if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
        raise CourseError(f"{str(out)!r} is there already and not empty")
    out.mkdir(parents=True, exist_ok=True)
    try:
        copy(root, out)
        leaks = Secrets(root).in_tree(out)
        if leaks:
            more = f" ({len(leaks) - 1} more)" if len(leaks) > 1 else ""
            raise CourseError(f"not exported: a line of a solution would be in it: {leaks[0]}{more}")
        commit(out)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.out:
        print("student: say where to: make student OUT=dir", file=sys.stderr)
        return 1
    try:
        export(args.root.resolve(), Path(args.out).absolute())
    except (CourseError, region.RegionError, mutants.MutantError) as error:
        print(f"student: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"student: {error}", file=sys.stderr)
        return 1
    print(f"exported to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
