#!/usr/bin/env python3
"""`make peers`: Debian's Xen 4.17 as an oracle for our PV guests. It is fetched to build/xen-4.17, and nothing is installed.

Each guest runs twice, in the same emulator on the same CPU: on Zeno as a domain, on Xen as dom0, since nothing there is needed
to make that. What they print must be equal, but for the lines of tools/xen_departures.toml, where each has its reason; a line
that is listed and does not differ any more is told, too. The status is 1 where something differs that is not listed, or, after
one line, if the network or the package is missing.

    xen_peer.py           fetch what is not there yet, and compare
    xen_peer.py --fetch   only fetch
    xen_peer.py GUEST...  compare these, and print both columns
"""

import argparse
import difflib
import gzip
import hashlib
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field

import linux_guest
import trouble

ROOT = linux_guest.ROOT
sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

PACKAGE = "xen-hypervisor-4.17-amd64"
XEN = linux_guest.System("amd64", linux_guest.PLACE.with_name("xen-4.17"), {},
                         {"xen.gz": (PACKAGE, "boot/xen-4.17-amd64.gz")}, "", b"")
LINUX = linux_guest.System("amd64", linux_guest.PLACE.with_name("linux-dom0"), {"linux": "linux-image-amd64"}, {}, "", b"")
"""Debian's kernel for any PC, which is a dom0's, too: the cloud's is none."""
KNOWN = {  # of xen.gz: what the list of departures and the bench's numbers were made with
    "3051d3934d8bd1cec1b2e0c950ab9ebe958e1753fe3dd45b43fc870893189fe4": "4.17.7+13-g2445b30a44-0+deb12u1",
}
ZENO = ROOT / "build/lab8-solution/zeno.mb"
DEPARTURES = ROOT / "tools/xen_departures.toml"
LIMIT = machine.Limits(instructions=20_000_000_000, cpu_seconds=120)
MEMORY = 512  # MiB, of the machine
SHIFT = 4  # 16 ns in an instruction: Xen waits for its clocks while it boots
ENDS = {"Hardware Dom0 halted": "powered off", "Hardware Dom0 crashed": "crashed", "Domain 0 crashed": "crashed"}
DOMAIN = 1  # of the only one that runs on Zeno
NO_END = "came to no end"


@dataclass(frozen=True)
class Guest:
    """How a guest is started, with the same words on both; and what of it is known to differ."""

    name: str
    words: str
    mem: int
    vcpus: int
    departures: tuple = ()


@dataclass(frozen=True, eq=False)
class Departure:
    """Lines, as regular expressions, that one of both alone prints: and why."""

    why: str
    zeno: tuple = ()
    xen: tuple = ()


@dataclass
class Compared:
    """What differs and is not listed, and what is listed and does not differ."""

    unlisted: list = field(default_factory=list)
    stale: list = field(default_factory=list)
    listed: int = 0


def missing():
    """None, or the command that fetches it: this installs and fetches nothing."""
    if machine.missing("qemu"):
        return machine.missing("qemu")
    return None if linux_guest.here(XEN) else "Debian's Xen is not here; this fetches it: make peers"


def version():
    """Debian's number of what is here."""
    return (XEN.place / "version").read_text().strip().removeprefix(PACKAGE + "_").removesuffix("_amd64.deb")


def bring():
    """Fetches it; raises NoGuest, too, where it is not one of those that are known."""
    linux_guest.bring(XEN)
    packed = (XEN.place / "xen.gz").read_bytes()
    digest = hashlib.sha256(packed).hexdigest()
    if digest not in KNOWN:
        was = version()
        (XEN.place / "version").unlink()
        raise linux_guest.NoGuest(f"{PACKAGE} {was}: its hash {digest[:16]}... is not one that tools/xen_peer.py knows")
    plain = XEN.place / "xen"
    if not plain.is_file():
        plain.write_bytes(gzip.decompress(packed))
    return plain


def boot(guest, words, dom0_mem, more=(), vcpus=1, **setup):
    """Xen with this guest as its dom0, and more modules: the machine's Run, which ends when dom0 does."""
    usual = {"cpu": "pv", "mem": MEMORY, "limits": LIMIT, "idle": False, "until": [end.encode() for end in ENDS]}
    return machine.boot(kernel=bring(), modules=[(guest, words), *more],
                        cmdline=f"console=com1 com1=115200,8n1 noreboot dom0_mem={dom0_mem}M,max:{dom0_mem}M dom0_max_vcpus={vcpus}", **{**usual, **setup})


def ended(text, ends):
    return next((f"({words})" for found, words in ends.items() if found in text), f"({NO_END})")


def on_xen(guest):
    """What it prints there, and how it ends."""
    run = boot(ROOT / f"build/guest/pv-{guest.name}.elf", guest.words.format(domain=0), guest.mem, vcpus=guest.vcpus, icount=True,
               shift=SHIFT)
    text = run.text().replace("\r", "")
    run.cleanup()
    lines = text.partition("init memory\n")[2].splitlines()
    return [line for line in lines if not line.startswith("(XEN) ")] + [ended(text, ENDS)]


def on_zeno(guests):
    """{guest: what it prints there, and how it ends}, of one boot."""
    run = machine.boot(kernel=ZENO, cpu="pv", icount=True, limits=LIMIT, mem=256,
                       modules=[(ROOT / f"build/guest/pv-{guest.name}.elf", "") for guest in guests],
                       cmdline="panic=off -- " + "".join(f"start pv-{guest.name} mem={guest.mem} vcpus={guest.vcpus} -- {guest.words.format(domain=DOMAIN)}; "
                                                         for guest in guests) + "off")
    text = run.text().replace("\r", "")
    run.cleanup()
    ends = {"ended: guest powered off": "powered off", "guest crashed": "crashed", "stopped: ": "crashed"}
    parts = re.split(r"^K> start ", text, flags=re.M)[1:] + [""] * len(guests)
    return {guest: re.findall(r"^d\d+\| (.*)$", part, re.M) + [ended(part, ends)] for guest, part in zip(guests, parts)}


def listed():
    """The guests, with their departures."""
    data = tomllib.loads(DEPARTURES.read_text(encoding="utf-8"))
    made = {name: [Departure(one["why"], tuple(one.get("zeno", ())), tuple(one.get("xen", ()))) for one in guest.get("departure", ())]
            for name, guest in data.items()}
    return [Guest(name, guest.get("words", ""), guest.get("mem", 8), guest.get("vcpus", 1), tuple(made[name])) for name, guest in data.items()]


def differences(ours, peers):
    """[("zeno" or "xen", line)]: what the other has not in its place."""
    found = []
    for what, a, b, c, d in difflib.SequenceMatcher(None, ours, peers, autojunk=False).get_opcodes():
        if what != "equal":
            found += [("zeno", line) for line in ours[a:b]] + [("xen", line) for line in peers[c:d]]
    return found


def compare(departures, ours, peers):
    """Each difference is listed, and each that is listed is one."""
    result, used = Compared(), set()
    for side, line in differences(ours, peers):
        hits = [(n, pattern) for n, one in enumerate(departures) for pattern in getattr(one, side) if re.fullmatch(pattern, line)]
        used |= {(n, side, pattern) for n, pattern in hits}
        result.listed += bool(hits)
        if not hits:
            result.unlisted.append((side, line))
    result.stale = [(side, pattern, one.why) for n, one in enumerate(departures) for side in ("zeno", "xen")
                    for pattern in getattr(one, side) if (n, side, pattern) not in used]
    return result


def show(guest, ours, peers, is_asked):
    """A line of a guest, and more where something is wrong; whether all is well."""
    result = compare(guest.departures, ours, peers)
    is_well = not result.unlisted and not result.stale
    print(f"  {guest.name:10}{len(ours):>5} lines on Zeno,{len(peers):>5} on Xen,{result.listed:>5} of them listed as different"
          f"{'' if is_well else '   NOT EQUAL'}")
    for side, line in result.unlisted:
        print(f"      {side:5}{line}")
    for side, pattern, why in result.stale:
        print(f"      listed, and no difference: {side}: {pattern} ({why})")
    if is_asked:
        for name, lines in ("Zeno", ours), ("Xen", peers):
            print(f"    on {name}:", *(f"      {line}" for line in lines), sep="\n")
    return is_well


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="our PV guests on Debian's Xen, and on Zeno")
    parser.add_argument("--fetch", action="store_true", help="fetch it, and no more")
    parser.add_argument("guests", nargs="*", help="these alone")
    options = parser.parse_args()
    try:
        bring()
        if options.fetch:
            linux_guest.bring(LINUX)
    except (linux_guest.NoGuest, OSError, subprocess.SubprocessError) as error:
        print(f"no Xen: {error}", file=sys.stderr)
        return 1
    if options.fetch:
        print(f"{os.path.relpath(XEN.place, ROOT)}: {PACKAGE} {version()}")
        return 0
    guests = [guest for guest in listed() if not options.guests or guest.name in options.guests]
    ours = on_zeno(guests)
    return 0 if all([show(guest, ours[guest], on_xen(guest), bool(options.guests)) for guest in guests]) else 1


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
