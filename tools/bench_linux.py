#!/usr/bin/env python3
"""`make bench LINUX=1`: the instructions of a boot of Debian's 32-bit Linux on bt, beside the bare machine's.

Counted from outside, by the plugin: from the kernel's first instruction, which under Zeno is the host's first entry into the
guest, to the first line of its first process, which ends the machine. So neither Zeno's own boot nor its loader is in it, and
no time is: under -icount the clock counts instructions, too.
"""

import sys
import tempfile
from pathlib import Path

import trouble

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))

import linux_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

HOST = ROOT / "build/lab3-solution"
SESSION = b"printf '\\000' | dd of=/dev/port bs=1 seek=244 conv=notrunc 2> /dev/null\n"
LIMIT = machine.Limits(instructions=30_000_000_000, cpu_seconds=600)
ENTRY = "ring_enter"
AIM = 1.25


def counted(initrd, **setup):
    """The instructions of a boot that comes to its end."""
    done = machine.boot(cpu="te", icount=True, idle=False, limits=LIMIT, **setup)
    text, total = done.text(), done.counts.total
    done.cleanup()
    if done.end is not machine.End.SHUTDOWN or "zeno# " not in text:
        raise SystemExit(f"bench: Linux came to no shell ({done.end.value}): {text[-300:]!r}")
    return total


def main():
    linux_guest.bring()
    kernel = linux_guest.PLACE / "vmlinuz"
    entry = Symbols([HOST / "zeno.elf"]).address(ENTRY)
    with tempfile.TemporaryDirectory(prefix="zeno-bench-") as folder:
        initrd = Path(folder) / "initrd"
        initrd.write_bytes(linux_guest.initrd((linux_guest.PLACE / "busybox").read_bytes(), SESSION))
        bare = counted(initrd, kernel=kernel, cmdline=linux_guest.CMDLINE, modules=[(initrd, "")], mem=64)
        on_bt = counted(initrd, kernel=HOST / "zeno.mb", modules=[(kernel, linux_guest.CMDLINE), (initrd, "")], counted_from=entry,
                        cmdline="panic=off -- start vmlinuz engine=bt mem=64 -- boot=linux initrd=initrd; off")
    times = on_bt / bare
    print(f"Debian's Linux, from its entry to its shell: {bare:,} bare, {on_bt:,} on bt: {times:.3f} times bare")
    print(f"  aim: at most {AIM}; {'it is' if times <= AIM else 'missed: it is'} {times:.3f}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(trouble.plain(main))
    except (machine.MachineMissing, linux_guest.NoGuest) as missing:
        print(f"bench: {missing}", file=sys.stderr)
        sys.exit(1)
