#!/usr/bin/env python3
"""What a kernel finds when a boot loader on a PC has started it (guest/pc): on te and bt as on the bare machines.

Its e_entry is a linear address; the bare machines are QEMU's boot loader, and on Bochs Zeno's own.
"""

import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import ran  # noqa: E402
from harness import ROOT, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

BUILD = ROOT / "build"
GUEST = BUILD / "guest/pc.elf"
LIMIT = machine.Limits(instructions=2_000_000_000)
MACHINES = ["qemu"] + (["bochs"] if shutil.which("bochs") else [])
ENGINES = {"te": 2, "bt": 3}
SEABIOS = ("-bios", "bios-256k.bin")  # what the guest looks for is a PC's BIOS' doing, and qboot.rom's is not


def boot(where, kernel, cmdline, modules=()):
    """Boots a kernel with modules (path, name, words); its console."""
    setup = {"idle": False, "extra": SEABIOS if kernel == GUEST else ()} if where == "qemu" else {}
    return ran(where, kernel, cmdline, modules, cpu="te", mem=128, limits=LIMIT, **setup).text


def same():
    """The guest's lines, bare and on each engine, with two modules of which one has words."""
    place = folder()
    (place / "short").write_bytes(b"a module")
    (place / "long").write_bytes(bytes(range(256)) * 37 + b"its end")
    files = [(place / "short", "short", "with two words"), (place / "long", "long", "")]
    for where in MACHINES:
        bare = boot(where, GUEST, "", files).splitlines()
        ok("modules 00000002" in bare and "  words: with two words" in bare, f"bare {where}: it has two modules", text=bare)
        ok(bare and bare[-1].startswith("text "), f"bare {where}: it comes to its end", text=bare)
        for engine, lab in ENGINES.items():
            text = boot(where, BUILD / f"lab{lab}-solution/zeno.mb", f"panic=off -- start pc engine={engine} module=short module=long; "
                        "off", [(GUEST, "pc", ""), *files])
            got = [line[4:] for line in text.splitlines() if line.startswith("d1| ")]
            ok(got == bare and "ended: exit code 0" in text, f"{engine} on {where}: as on the bare machine",
               bare="\n".join(bare), got=text)
    if "bochs" not in MACHINES:
        skip("the PC of Bochs", "Bochs is not installed: make demo installs it")


def refused():
    """What can't be given to a guest is refused in words."""
    big = folder() / "big"
    big.write_bytes(bytes(7 << 20))
    text = boot("qemu", BUILD / "lab2-solution/zeno.mb",
                "panic=off -- start pc module=none; start pc module=big; start pc module=pc -- boot=linux x; off",
                [(GUEST, "pc", ""), (big, "big", "")])
    for words in ("guests to start: pc big", "no room for its modules: give it more with mem=",
                  "only a multiboot kernel is given modules"):
        ok(words in text, f"refused: {words}", text=text)


def prompts():
    """Zeno types when the guest has asked: each line behind a prompt of its shell."""
    words = "shell=1 input=$~|echo~a~b_|$~|cat~/etc/poem~>~/tmp/x_|$~|wc~/tmp/x_|$~|exit~7_"
    for engine, lab in ENGINES.items():
        result = machine.boot(kernel=str(BUILD / f"lab{lab}-solution/zeno.mb"), cpu="te", limits=LIMIT, idle=False,
                              modules=[(str(BUILD / "guest/os.elf"), "")],
                              cmdline=f"panic=off -- start os engine={engine} mem=16 -- {words}; off")
        text = result.text()
        # Not the console's lines, which are cut where the guest has been quiet for a while.
        said = b"".join(bytes.fromhex(line.split()[1]) for _, line in result.tagged("out")).decode().replace("\r", "")
        result.cleanup()
        ok(re.search(r"^\$ echo a b\na b\n\$ cat /etc/poem > /tmp/x\n\$ wc /tmp/x\n.*\n\$ exit 7", said, re.M)
           and "ended: exit code 7" in text, f"{engine}: what is typed waits for a prompt", text=text, said=said)


def main():
    for lab in ENGINES.values():
        built = run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build")
        if not ok(built.status == 0, f"the reference of Lab {lab} builds", out=built.out):
            finish()
    same()
    refused()
    prompts()
    finish()


if __name__ == "__main__":
    main()
