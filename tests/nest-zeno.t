#!/usr/bin/env python3
"""Zeno in Zeno: its disk image boots as a guest on svm, by Debian's SeaBIOS and Zeno's own boot sector and loader, and runs
guests on te and bt. It says what it says on the bare machine, where it boots from the same disk; hostile guests of the inner
one end there, and both hosts go on.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import disk_of  # noqa: E402
from engine import BUILD, LIMIT, Engine, guest  # noqa: E402
from harness import ROOT, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

SEABIOS = Path("/usr/share/seabios/bios.bin")
SCRIPT = "script=mkdir_/tmp/d+cd_/tmp/d+cat_/etc/poem_>_p+wc_p+sort_<_p_|_grep_the+ls+rm_p+ls+exit_3"
ENGINES = ("te", "bt")
INNER = [f"start {words}" for engine in ENGINES for words in (
    f"hello engine={engine}", f"os engine={engine} -- {SCRIPT}", f"hostile engine={engine} -- attack=window-write")]


def lines(text):
    """Behind the first one, which tells of memory: firmware keeps some. How many exits there were is the ticks' to say."""
    return re.sub(r"after \d+ exits", "after exits", text).splitlines()[1:]


def main():
    if not SEABIOS.exists():
        skip("Zeno in Zeno", f"{SEABIOS} is not here: make check installs it")
        finish()
    for lab in ("3", "5"):
        built = run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build")
        ok(built.status == 0, f"the reference of Lab {lab} builds", out=built.out)
    disk = disk_of(BUILD / "lab3-solution/zeno.mb", f"panic=off -- {'; '.join(INNER)}; off", [guest(name) for name in ("hello", "os", "hostile")])
    result = machine.boot(disk=disk, cpu="svm", mem=32, limits=LIMIT)
    bare = result.console.decode("ascii", "replace").replace("\r", "")
    result.cleanup()
    ok(all(bare.count(f"os: ended: exit code 3") == 2 and f"started on {one} " in bare for one in ENGINES),
       "bare QEMU boots it, and it runs guests on te and bt", text=bare)
    bios = folder() / "bios"
    bios.write_bytes(SEABIOS.read_bytes())
    text = Engine("5", "svm").host([f"start bios boot=firmware platform=pc-apic mem=32 disk={disk.stem}", "start hello"],
                                   [bios, disk, "hello"], icount=True)
    # A guest that listens has the console until it ends.
    inner = text.partition("d1: its COM1 has what you type")[2].partition("\n")[2].partition("d1 bios: ended")[0].strip()
    ok(inner and lines(inner) == lines(bare.replace("\nPowering off", "")), "the same on svm: Zeno in Zeno", bare=bare, text=text)
    ok("bios: ended: exit code 0" in text and "hello: ended: exit code 0" in text.split("bios: ended")[-1],
       "and the outer one goes on", text=text)
    finish()


if __name__ == "__main__":
    main()
