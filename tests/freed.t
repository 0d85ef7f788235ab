#!/usr/bin/env python3
"""What a dead domain leaves: its data is in no later domain's memory or registers, and no frame that is free, or another domain's,
is in the tables of one that lives.
"""

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok, skip  # noqa: E402
from stopped import ADDRESS, P, PS, Stopped, machine, need_qemu  # noqa: E402
from zeno.judging import headers  # noqa: E402

BUILD = ROOT / "build"
LIMIT = machine.Limits(instructions=4_000_000_000)
FREE, HOST, GUEST = 1, 2, 3
OWN_SLOT = 260
DOMAINS = 2  # that live: os on te, os on bt
OFFSETS = {name: headers.offset_of(ROOT, "vmm/domain.h", "struct domain", name) for name in ("id", "vcpu")} | {
    name: headers.offset_of(ROOT, "vmm/vcpu.h", "struct vcpu", name) for name in ("root", "next")}


def module(name):
    return str(BUILD / "guest" / f"{name}.elf"), ""


def secrets(lab, cpu, engines):
    """One fills its memory and registers and ends; the next gets the same frames, and looks."""
    commands = []
    for left in engines:
        for looks in engines:
            for what in ("memory", "secret"):
                commands += [f"start hostile engine={left} -- attack={what}-leave",
                             f"start hostile engine={looks} -- attack={what}-look"]
    run = machine.boot(machine="qemu", kernel=str(BUILD / f"{lab}-solution/zeno.mb"), cpu=cpu, limits=LIMIT,
                       cmdline=f"panic=off -- {'; '.join(commands)}; off", modules=[module("hostile")])
    text = run.console.decode("ascii", "replace").replace("\r", "")
    run.cleanup()
    pairs = len(engines) ** 2
    for what in ("memory", "secret"):
        left, looked = text.count(f"{what}-leave: no effect"), text.count(f"{what}-look: no effect")
        ok(left == looked == pairs and "went through" not in text,
           f"{', '.join(engines)}: the next guest does not find what the last one left in its {what}", text=text[-3000:])


def tables(host, table, level, indices=range(512)):
    """(frame, whether it is a leaf) of each that these tables have, but for the root itself."""
    entries = struct.unpack("<512Q", host.gdb.read(table, 4096, True))
    for i in indices:
        if not entries[i] & P:
            continue
        leaf = level == 1 or (level < 4 and entries[i] & PS)
        yield (entries[i] & ADDRESS) >> 12, leaf
        if not leaf:
            yield from tables(host, entries[i] & ADDRESS, level - 1)


def live_domains(host):
    """(id, root's frame) of each vCPU."""
    count = (host.symbols.address("domains"), headers.numbers(("vmm/domain.h",), ("DOMAIN_MAX",))[0] + 1)
    for domain in host.words(*count):
        if not domain:
            continue
        number = struct.unpack("<H", host.gdb.read(domain + OFFSETS["id"], 2))[0]
        vcpu = host.words(domain + OFFSETS["vcpu"])[0]
        while vcpu:
            yield number, host.words(vcpu + OFFSETS["root"])[0]
            vcpu = host.words(vcpu + OFFSETS["next"])[0]


def wrong_frames(host, number, root):
    """Those in the domain's own slots that are free, or another guest's."""
    at = host.words(host.at("frames"))[0]
    bad, guests = [], 0
    for mfn, leaf in {(root, False), *tables(host, root << 12, 4, (0, OWN_SLOT))}:
        refs, owner, kind = struct.unpack("<IHB", host.gdb.read(at + 16 * mfn, 7))
        guests += kind == GUEST
        if not refs or kind not in (HOST, GUEST) or (kind == GUEST and (owner != number or not leaf)):
            bad.append((hex(mfn), leaf, refs, owner, kind))
    return bad, guests


def reachable():
    """Two live on while others come and go; each one's tables are read out of the machine's memory."""
    commands = ["start paging", "start os engine=te &", "start hello engine=bt", "start os engine=bt &", "start paging",
                "start paging engine=bt", "start wrap", "start hostile -- attack=ud", "start crowded engine=bt", "threads"]
    host = Stopped("command_threads", variant="lab3-solution", lab=3, cpu="te", mem=256,
                   cmdline=f"panic=off -- {'; '.join(commands)}",
                   modules=[module(name) for name in ("paging", "os", "hello", "hostile", "wrap", "crowded")])
    try:
        live = list(live_domains(host))
        ok(len(live) >= DOMAINS, "two domains live, while others have come and gone", live=live)
        full = None  # whose tables have something: a guest that has just loaded CR3 may have nothing
        for number, root in live:
            bad, guests = wrong_frames(host, number, root)
            ok(not bad, f"domain {number}: {guests} of its own frames are in its tables, and none that is free or another's",
               bad=bad[:20])
            full = (number, root) if guests else full
        if not ok(full, "one of them has frames in its tables", live=live):
            return
        mine = [mfn for mfn, leaf in tables(host, full[1] << 12, 4, (0,)) if leaf]
        host.call("frame_put", mine[len(mine) // 2])
        ok(wrong_frames(host, *full)[0], "a frame that is given back too early would be seen")
    finally:
        host.end()


def main():
    need_qemu()
    secrets("lab3", "te", ("te", "bt"))
    if (BUILD / "lab4s-solution/zeno.mb").is_file():
        secrets("lab4s", "svm", ("svm",))
    else:
        skip("what a guest on svm leaves", "lab4s has no reference here")
    reachable()
    finish()


main()
