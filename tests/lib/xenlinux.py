"""Debian's Linux in a domain with a console of Xen's: what its session and its shell are asked, and what they must say.

Sessions carry numbers that are drawn by the test, so no line of the output can be known before.
"""

import hashlib
import re
import sys

from booting import boot_from
from harness import ROOT, ok

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

LIMITS = {"qemu": machine.Limits(instructions=60_000_000_000, cpu_seconds=120),
          "bochs": machine.Limits(instructions=60_000_000_000, cpu_seconds=1000)}
WORDS = "console=hvc0 mitigations=off nokaslr panic=-1 loglevel=5 shell"
COMPLAINS = r"WARNING:|BUG:|PANIC|Oops|multicall\(s\) failed"


def first_lines(draw):
    """{line that /init types: what it prints}"""
    nonce, first, count = f"{draw.getrandbits(64):016x}", draw.randrange(1, 10**6), draw.randrange(500, 900)
    numbers = "".join(f"{n}\n" for n in range(first, first + count))
    return {"uname -sm": "Linux x86_64", f"echo nonce {nonce}": f"nonce {nonce}",
            f"seq {first} {first + count - 1} > /tmp/f; md5sum < /tmp/f": hashlib.md5(numbers.encode()).hexdigest() + "  -"}


def typed(said):
    """What /init is to read."""
    return "".join(f"{line}\n" for line in said).encode()


def booted(where, lab, cpu, commands, modules, mem, icount=False):
    """(console, what guests said, without the kernel's lines) of Zeno with these commands."""
    setup = boot_from(where, ROOT / f"build/lab{lab}-solution/zeno.mb", f"panic=off -- {'; '.join(commands)}; start nothing; off", modules)
    result = machine.boot(**setup, cpu=cpu, mem=mem, limits=LIMITS[where], idle=False, icount=icount and where == "qemu")
    console, output = result.text(), b"".join(bytes.fromhex(line.split()[1]) for _, line in result.tagged("out"))
    result.cleanup()
    return console, re.sub(r"^\[ *\d+\.\d+\] .*\n?", "", (output.decode("utf-8", "replace") or console).replace("\r", ""), flags=re.M)


def expected(said):
    """The whole session."""
    return "".join(f"zeno# {line}\n" + (f"{what}\n" if what else "") for line, what in said.items())


def check(where, console, text, said, answer):
    """The session, a shell on hvc0 that has been typed to, and no complaint."""
    at = text.find("zeno# ")
    ok(at >= 0 and text[at:].startswith(expected(said)), f"{where}: its session prints what the numbers say", got=text[-3000:], want=expected(said),
       console=console[-3000:])
    ok(re.search(rf"BusyBox .*^{answer} typed\nzeno# (.*zeno# |m .*)?exit\n", text, re.M | re.S), f"{where}: a shell on hvc0 does what is typed",
       got=text[-3000:])
    ok(not re.search(COMPLAINS, console), f"{where}: the kernel met nothing that it does not expect", console=console)
    ok("no guest nothing" in console, f"{where}: and the host goes on", console=console[-1000:])
