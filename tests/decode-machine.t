#!/usr/bin/env python3
"""The decoder beside the emulated CPU that te and bt are graded on: lengths, and what is refused.

All four opcode maps behind 16 sets of prefixes, in 16 and 32-bit code; VEX, EVEX and XOP bytes are among them, which this
CPU does not have. A sample by SEED of one in EVERY; EVERY=1 is 1.5 million instructions, a minute.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, folder, ok, run  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1, 1 << 16))
EVERY = int(os.environ.get("EVERY") or 40)
LIMIT = machine.Limits(instructions=None, cpu_seconds=600)


def build(place):
    """The table, and the guest that holds it; None, or what went wrong."""
    sources = [ROOT / "tests/decode/table.c", *sorted((ROOT / "vmm/x86").glob("decode*.c"))]
    done = run(os.environ.get("HOST_CC", "gcc"), "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-I", ROOT,
               "-o", place / "table", *sources)
    if done.status:
        return done.out
    with open(place / "table.bin", "wb") as out:
        subprocess.run([place / "table", str(SEED), str(EVERY)], stdout=out, check=True)
    done = run("nasm", "-f", "elf32", "-I", f"{place}/", "-o", place / "guest.o", ROOT / "tests/decode/guest.asm")
    if done.status:
        return done.out
    library = sorted((ROOT / "build/guest/obj/lib").glob("*.o"))
    done = run("ld", "-m", "elf_i386", "-nostdlib", "-static", "-z", "noexecstack", "-T", ROOT / "guest/lib/guest.ld",
               "-o", place / "guest.elf", *library, place / "guest.o")
    return done.out if done.status else None


def main():
    why = machine.missing("qemu")
    if why:
        print(f"1..0 # SKIP {why}")
        return
    place = folder()
    wrong = build(place)
    if ok(not wrong, "the table and the guest are built", wrong=wrong):
        size = (place / "table.bin").stat().st_size // 16
        result = machine.boot(machine="qemu", kernel=str(place / "guest.elf"), cpu="te", limits=LIMIT)
        lines = result.text().split("\n")
        last = lines[-2].split() if len(lines) > 1 else []
        ok(result.end is machine.End.SHUTDOWN and last[:1] == [f"{size:08X}"] or last[:1] == [f"{size:08x}"],
           f"the CPU has tried all {size:,} of them", end=result.end, detail=result.detail, text=result.text()[-500:])
        ok(size > 1000 and last[1:] == ["00000000"], f"and none is longer or shorter than the decoder says (SEED={SEED})",
           text=result.text())
        result.cleanup()
    finish()


main()
