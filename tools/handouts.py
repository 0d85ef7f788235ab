#!/usr/bin/env python3
"""Build the handouts as HTML: `handouts.py DIR`. Links between handouts go on working."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import trouble
from course import ROOT

STYLE = """<style>
body { max-width: 46em; margin: 2em auto; padding: 0 1em; line-height: 1.5;
       font-family: Georgia, serif; color: #222; background: #fff; }
code, pre { font-family: monospace; font-size: .92em; }
pre { background: #f4f2ec; padding: .7em 1em; overflow-x: auto; line-height: 1.3; }
table { border-collapse: collapse; } td, th { border: 1px solid #bbb; padding: .25em .6em;
       text-align: left; vertical-align: top; }
img { max-width: 100%; } h1, h2, h3 { font-family: sans-serif; line-height: 1.2; }
</style>
"""


def title_of(text, path):
    """The first heading, as plain words."""
    found = re.search(r"^# +(.*?)( *\{#.*\})?$", text, re.M)
    return found[1].replace("`", "") if found else path.stem


def build(path, out):
    """One handout."""
    text = path.read_text()
    page = subprocess.run(
        ["pandoc", "--from=markdown", "--to=html5", "--standalone", "--section-divs",
         "--metadata", f"pagetitle={title_of(text, path)}", "--include-in-header=/dev/stdin",
         str(path)], input=STYLE, capture_output=True, text=True, check=False)
    if page.returncode or page.stderr:
        print(f"{path.name}: {page.stderr.strip()}", file=sys.stderr)
        return False
    html = re.sub(r'(href="(?![a-z]+:)[^"#]*)\.md(["#])', r"\1.html\2", page.stdout)
    (out / (path.stem + ".html")).write_text(html)
    return True


def main():
    source, out = ROOT / "handouts", Path(sys.argv[1])
    pages = sorted(source.glob("*.md"))
    if not pages:
        print("handouts/ holds no handouts", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    if (source / "img").is_dir():
        shutil.copytree(source / "img", out / "img", dirs_exist_ok=True)
    good = [build(path, out) for path in pages]
    print(f"{sum(good)} of {len(pages)} handouts are in {out}/")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(trouble.plain(main, 1, 1))
