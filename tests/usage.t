#!/usr/bin/env python3
"""Each program of tools/ that reads its words itself, asked how it is used, and given a word that it doesn't know.

No such word may be taken for a file's name: handouts.py once filled a folder `--help`. For the others argparse sees to it.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import TOOLS, finish, folder, ok, run  # noqa: E402


def main():
    place = folder()
    texts = {path: path.read_text() for path in TOOLS.glob("*.py")}
    programs = sorted(path for path, text in texts.items()
                      if 'if __name__ == "__main__":' in text and "ArgumentParser(" not in text)
    ok(len(programs) > 5, "there are such programs", got=len(programs))
    for path in programs:
        done = run(sys.executable, path, "--help", cwd=place)
        ok(done.status == 0 and done.out.strip() and not os.listdir(place), f"{path.name} --help",
           status=done.status, out=done.out, left=os.listdir(place))
        done = run(sys.executable, path, "--no-such-word", cwd=place)
        ok(done.status == 2 and done.out.strip() and "Traceback" not in done.out and not os.listdir(place),
           f"{path.name} refuses a word that it doesn't know", status=done.status, out=done.out, left=os.listdir(place))
    finish()


if __name__ == "__main__":
    main()
