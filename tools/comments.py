#!/usr/bin/env python3
"""Bring C comments within their columns: `comments.py [FILE...]`; `--check` only says which lines are too long.

clang-format leaves comments alone. A paragraph that has a line beyond WIDTH is filled anew; a comment behind code moves
above it. What is laid out by hand (more than one space after the star, two spaces in a row, a table) and the comments of
exercises, whose lines have labels, stay as they are.
"""

import argparse
import re
import subprocess
import sys
import textwrap

import trouble
from course import ROOT

WIDTH = 100
PLACES = ("inc", "kern", "vmm", "trials", "guest", "user", "solutions", "tests", "grade")
EXERCISE = re.compile(r"EXERCISE|until then")
BY_HAND = re.compile(r"^\s*\S.*\S {2,}\S|\t", re.M)


def columns(text):
    """How wide a line is."""
    return len(text.expandtabs(8))


def files():
    """The C files whose comments are looked at."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard", *PLACES], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split("\0")
    return [name for name in listed if name.endswith((".c", ".h")) and (ROOT / name).is_file()]


def fill(indent, words):
    """Words as lines ` * ...` behind an indent."""
    return textwrap.wrap(words, WIDTH - columns(indent) - 3, break_long_words=False, break_on_hyphens=False)


def block(indent, texts):
    """A comment of these paragraphs, on one line if it fits."""
    lines = []
    for text in texts:
        lines += fill(indent, text) if isinstance(text, str) else list(text)
        lines.append("")
    lines = lines[:-1]
    if len(lines) == 1 and columns(indent) + len(lines[0]) + 6 <= WIDTH:
        return [f"{indent}/* {lines[0]} */"]
    return [f"{indent}/*", *[f"{indent} * {line}".rstrip() for line in lines], f"{indent} */"]


def paragraphs(lines):
    """The text of a comment's lines, without stars, as paragraphs: a string, or the lines of one to be left."""
    out, now = [], []
    for line in [*lines, ""]:
        if line.strip():
            now.append(line)
        elif now:
            kept = any(one.startswith(" ") for one in now) or BY_HAND.search("\n".join(now))
            out.append(tuple(now) if kept else " ".join(one.strip() for one in now))
            now = []
    return out


def one_comment(lines):
    """A comment that begins on a line of its own, anew."""
    indent = re.match(r"\s*", lines[0])[0]
    text = [re.sub(r"^\s*(/\*|\*/|\*)? ?", "", line, count=1) for line in lines]
    text[-1] = re.sub(r"\s*\*/\s*$", "", text[-1])
    if lines[-1].strip() == "*/":
        text[-1] = ""
    if EXERCISE.search("\n".join(lines)):
        return lines
    return block(indent, paragraphs(text))


def behind_code(line):
    """Code with a comment behind it: the comment above the code."""
    match = re.match(r"^(\s*)(\S.*?)\s*/\* (.*) \*/$", line)
    if not match or '"' in line or line.rstrip().endswith("\\") or match[2].startswith(("#", "/*", "}")):
        return [line]
    if match[2].startswith(("case", "default")) or match[2].endswith(("{", "(", ",")):
        return [line]
    return [*block(match[1], [match[3]]), f"{match[1]}{match[2]}"]


def reflow(text):
    """A file's text with its comments within the columns."""
    lines, out, i = text.split("\n"), [], 0
    while i < len(lines):
        line = lines[i]
        if line.lstrip().startswith("/*"):
            end = i
            while "*/" not in lines[end] and end + 1 < len(lines):
                end += 1
            whole = lines[i:end + 1]
            if max(map(columns, whole)) > WIDTH and lines[end].rstrip().endswith("*/") and "\\" not in lines[i][-1:]:
                whole = one_comment(whole)
            out += whole
            i = end + 1
            continue
        out += behind_code(line) if columns(line) > WIDTH and "/*" in line else [line]
        i += 1
    return "\n".join(out)


def too_long(name, text, new):
    """The lines that comments.py would fill anew, and those that are too long and that it would not."""
    old, filled = text.split("\n"), new.split("\n")
    found = [f"{name}:{1 + next((i for i, (a, b) in enumerate(zip(old, filled)) if a != b), 0)}"] * (old != filled)
    inside, exercise = False, False
    for n, line in enumerate(filled, 1):
        if "/*" in line:
            inside, exercise = True, "EXERCISE" in line
        if inside and not exercise and columns(line) > WIDTH and line.lstrip()[:1] in "/*":
            found.append(f"{name}:{n}")
        if "*/" in line:
            inside = False
    return found


def main():
    parser = argparse.ArgumentParser(description=f"Bring C comments within column {WIDTH}.")
    parser.add_argument("--check", action="store_true", help="only say which lines are too long")
    parser.add_argument("names", nargs="*", metavar="FILE", help="from the root of the tree; all without")
    options = parser.parse_args()
    bad = []
    for name in options.names or files():
        text = (ROOT / name).read_text()
        new = reflow(text)
        if options.check:
            bad += too_long(name, text, new)
        elif new != text:
            (ROOT / name).write_text(new)
    for place in bad:
        print(f"{place}: a comment beyond column {WIDTH}: tools/comments.py")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
