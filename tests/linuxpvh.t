#!/usr/bin/env python3
"""Debian's 64-bit Linux, which nobody here wrote, as a guest of AMD-V with Xen's services: to a shell on hvc0.

It is entered by its PVH note, finds Zeno by CPUID, and has its clock, its timer and its console from there: by hypercalls, and by the
upcall's vector beside its APICs. The session and what is typed carry numbers that are drawn here, so no line of the output can be known
before. A boot takes 12 s of CPU; with ZENO_ALL=1 it boots on Bochs, too, by VT-x.
"""

import hashlib
import os
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import boot_from  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
import xen_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

LIMITS = {"qemu": machine.Limits(instructions=60_000_000_000, cpu_seconds=120),
          "bochs": machine.Limits(instructions=60_000_000_000, cpu_seconds=1000)}
WORDS = "console=hvc0 mitigations=off nokaslr panic=-1 loglevel=5 shell"
KNOWS = ("Booting kernel on Xen PVH", "Xen HVM callback vector for event delivery is enabled", "Switched to clocksource xen",
         "installing Xen timer for CPU 0")


def session(draw):
    """{line that /init types: what it prints}"""
    nonce, first, count = f"{draw.getrandbits(64):016x}", draw.randrange(1, 10**6), draw.randrange(500, 900)
    numbers = "".join(f"{n}\n" for n in range(first, first + count))
    return {"uname -sm": "Linux x86_64", f"echo nonce {nonce}": f"nonce {nonce}",
            f"seq {first} {first + count - 1} > /tmp/f; md5sum < /tmp/f": hashlib.md5(numbers.encode()).hexdigest() + "  -",
            f"dmesg | grep -oE '{'|'.join(KNOWS)}' | sort": "\n".join(sorted(KNOWS)),
            "mkdir /s; mount -t sysfs s /s; cat /s/hypervisor/type /s/hypervisor/version/extra": "xen\n-zeno",
            "grep -cE 'xen-(dyn|percpu).* (hvc_console|timer0|xenbus)' /proc/interrupts": "3",
            "sleep 1; [ $(grep timer0 /proc/interrupts | tr -s ' ' | cut -d ' ' -f 3) -gt 20 ] && echo ticks": "ticks"}


def booted(where, engine, kernel):
    draw = random.Random()
    said, first, second = session(draw), draw.randrange(1000, 10**4), draw.randrange(1000, 10**4)
    initrd = linux_guest.make_initrd(linux_guest.LINUX_64, "".join(f"{line}\n" for line in said).encode(), folder() / "initrd64")
    start = (f"start linux-pv engine={engine} mem=192 platform=pc-apic boot=pvh xen=1 module=initrd64 -- {WORDS} "
             f"input=_echo~$(({first}*{second}))~typed_exit_")
    setup = boot_from(where, ROOT / "build/laball-solution/zeno.mb", f"panic=off -- {start}; start nothing; off", [kernel, initrd])
    result = machine.boot(**setup, cpu=engine, mem=384, limits=LIMITS[where], idle=False)
    console, output = result.text(), b"".join(bytes.fromhex(line.split()[1]) for _, line in result.tagged("out"))
    result.cleanup()
    text = re.sub(r"^\[ *\d+\.\d+\] .*\n?", "", (output.decode("utf-8", "replace") or console).replace("\r", ""), flags=re.M)
    expected = "".join(f"zeno# {line}\n{what}\n" for line, what in said.items())
    at = text.find("zeno# ")
    ok(at >= 0 and text[at:].startswith(expected), f"{where}: its session prints what the numbers say", got=text[-3000:], want=expected,
       console=console[-3000:])
    ok(re.search(rf"^{first * second} typed\n", text, re.M), f"{where}: a shell on hvc0 does what is typed", got=text[-3000:])
    ok("linux-pv: ended: guest powered off" in console, f"{where}: and it halts, which ends the domain", console=console[-2000:])
    ok(not re.search(r"WARNING:|BUG:|PANIC|Oops", console), f"{where}: the kernel met nothing that it does not expect", console=console)
    ok("no guest nothing" in console, f"{where}: and the host goes on", console=console[-1000:])


def main():
    try:
        kernel = xen_guest.linux_pv()
    except linux_guest.NoGuest as why:
        skip("Debian's Linux as a PVH domain", f"it could not be fetched: {why}")
        finish()
    built = run("make", "-s", "-C", ROOT, "LAB=all", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of all labs builds", out=built.out)
    booted("qemu", "svm", kernel)
    if os.environ.get("ZENO_ALL") and not machine.missing("bochs"):
        booted("bochs", "vmx", kernel)
    finish()


if __name__ == "__main__":
    main()
