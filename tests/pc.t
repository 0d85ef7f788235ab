#!/usr/bin/env python3
"""What a kernel finds when a boot loader on a PC has started it (guest/pc): on te and bt as on the bare machines.

Its e_entry is a linear address; the bare machines are QEMU's boot loader, and on Bochs Zeno's own.
"""

import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
GUEST = BUILD / "guest/pc.elf"
LIMIT = machine.Limits(instructions=2_000_000_000)
MACHINES = ["qemu"] + (["bochs"] if shutil.which("bochs") else [])
ENGINES = {"te": 2, "bt": 3}


def boot(where, kernel, cmdline, modules=()):
    """Boots a kernel with modules (path, name, words); its console."""
    if where == "qemu":
        result = machine.boot(machine="qemu", kernel=str(kernel), cmdline=cmdline, cpu="te", mem=128, limits=LIMIT,
                              modules=[(str(path), words) for path, _, words in modules])
    else:
        disk = folder() / "pc.img"
        words = [word for path, name, more in modules for word in ("--module", path, f"{name} {more}".strip())]
        done = run(sys.executable, TOOLS / "mkimage.py", "-o", disk, "--cmdline", cmdline, "--mbr",
                   BUILD / "boot/mbr.bin", "--loader", BUILD / "boot/loader.bin", "--kernel", kernel, *words)
        if done.status:
            raise RuntimeError(done.out)
        result = machine.boot(machine="bochs", disk=str(disk), cpu="te", mem=128, limits=LIMIT)
    text = result.console.decode("ascii", "replace").replace("\r", "")
    result.cleanup()
    return text


def same():
    """The guest's lines, bare and on each engine."""
    for where in MACHINES:
        bare = boot(where, GUEST, "").splitlines()
        ok(bare and bare[-1].startswith("text "), f"bare {where}: it comes to its end", text=bare)
        for engine, lab in ENGINES.items():
            text = boot(where, BUILD / f"lab{lab}-solution/zeno.mb", f"panic=off -- start pc engine={engine}; off",
                        [(GUEST, "pc", "")])
            got = [line[4:] for line in text.splitlines() if line.startswith("d1| ")]
            ok(got == bare and "ended: exit code 0" in text, f"{engine} on {where}: as on the bare machine",
               bare="\n".join(bare), got=text)
    if "bochs" not in MACHINES:
        skip("the PC of Bochs", "Bochs is not installed: make demo installs it")


def main():
    for lab in ENGINES.values():
        built = run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build")
        if not ok(built.status == 0, f"the reference of Lab {lab} builds", out=built.out):
            finish()
    same()
    finish()


if __name__ == "__main__":
    main()
