#!/usr/bin/env python3
"""Guests by a PVH entry, of 32 and of 64 bits, and a file of bytes: what they find, and what is no such guest.

With ZENO_ALL=1 Debian's 64-bit Linux, taken out of its bzImage, begins by its PVH entry, to the shell: 15 s of CPU.
"""

import os
import random
import re
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import BUILD  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(TOOLS))
import linux_guest  # noqa: E402
import vmlinux  # noqa: E402
from zeno.machines import machine  # noqa: E402

KERNEL = BUILD / "lab5-solution/zeno.mb"
AT = 0x100000
LIMIT = machine.Limits(instructions=60_000_000_000, cpu_seconds=600)
PT_LOAD, PT_NOTE = 1, 4
ENTRY_NOTE = 18


def note(kind=ENTRY_NOTE, name=b"Xen\0", entry=AT, size=4, words=None):
    return struct.pack("<3I", len(name), size if words is None else words, kind) + name.ljust(-len(name) % 4 + len(name), b"\0") + (
        entry.to_bytes(size, "little"))


def elf(code, notes, wide, at=AT, more=0, parts=None):
    """An ELF file with these bytes at `at`, and these notes."""
    head = 64 if wide else 52
    size = 56 if wide else 32
    where = head + 2 * size
    headers = parts or [(PT_NOTE, where, 0, len(notes), 0), (PT_LOAD, where + len(notes), at, len(code), len(code) + more)]
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    if wide:
        data = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, head, 0, 0, head, size, len(headers), 0, 0, 0)
        data += b"".join(struct.pack("<IIQQQQQQ", kind, 7, offset, 0, to, filesz, memsz, 0) for kind, offset, to, filesz, memsz in headers)
    else:
        data = ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0, head, 0, 0, head, size, len(headers), 0, 0, 0)
        data += b"".join(struct.pack("<8I", kind, offset, 0, to, filesz, memsz, 7, 0) for kind, offset, to, filesz, memsz in headers)
    return data + notes + code


def console(starts, files, **setup):
    place = folder()
    for name, data in files.items():
        (place / name).write_bytes(data)
    run_ = machine.boot(kernel=KERNEL, cpu="svm", limits=LIMIT, modules=[(place / name, "with words" if name == "module" else "") for name in files],
                        cmdline=f"panic=off -- {'; '.join(starts)}; off", **setup)
    text = run_.text().replace("\r", "")
    run_.cleanup()
    return text


def entered(code, rng):
    """Each of them finds what it was given."""
    nonce, module = f"{rng.getrandbits(64):016x}", f"{rng.getrandbits(64):016x}"
    others = note(name=b"GNU\0") + note(kind=6, size=8) + note(name=b"Xenon\0")
    files = {"thin": elf(code, others + note(), False), "wide": elf(code, others + note(size=8), True),
             "flat": code, "module": module.encode()}
    starts = [f"start {name} mem=16 platform=pc-apic boot=pvh module=module -- {nonce}" for name in ("thin", "wide")]
    text = console([*starts, f"start flat mem=16 boot=flat -- {nonce}"], files)
    said = re.findall(r"^d1\| (.*)$", text, re.M)
    ok(len(said) == 3 and all(re.fullmatch(rf"{nonce} ?\|1{module} \S*module with words\|3maf", line) for line in said[:2]),
       "a PVH entry: words, a module, the memory's map, ACPI's tables, firmware's data", nonce=nonce, module=module, text=text)
    ok(len(said) == 3 and re.fullmatch(rf"{nonce} ?\|", said[2]), "a file of bytes is entered at its first, with its words", text=text)
    ok(text.count(": ended: exit code 0") == 3, "... and each comes to its end", text=text)


def refused(code):
    """What is no such guest, in a line."""
    good = elf(code, note(), True)
    cases = {
        "no ELF file": (b"\0" * 100, "it is no ELF file"),
        "short": (good[:63], "it is no ELF file"),
        "an ELF file of another machine": (good[:18] + b"\x28\0" + good[20:], "it is not an x86 image"),
        "headers of another size": (good[:54] + b"\x57\0" + good[56:], "its program headers have an unknown size"),
        "many headers": (good[:56] + b"\xff\xff" + good[58:], "or are too many"),
        "headers far away": (good[:32] + b"\xf0" + b"\xff" * 7 + good[40:], "its program headers lie beyond the file's end"),
        "no note": (elf(code, note(name=b"GNU\0"), True), "no note with a PVH entry"),
        "a note that is longer than all": (elf(code, note(words=0xffffffff), True), "no note with a PVH entry"),
        "a name that is longer than all": (elf(code, struct.pack("<3I", 0xffffffff, 4, 18) + b"Xen\0" + bytes(4), True), "no note with a PVH entry"),
        "half a note": (elf(code, note()[:-1], True), "no note with a PVH entry"),
        "an entry beyond 4 GiB": (elf(code, note(entry=1 << 32, size=8), True), "no note with a PVH entry"),
        "a segment that is cut": (good[:-1], "a segment lies beyond the file's end"),
        "more in the file than in memory": (elf(code, note(), True, more=-1), "has more bytes in it than in memory"),
        "beyond memory": (elf(code, note(), True, more=16 << 20), "give it more with mem="),
        "a sum that wraps": (elf(code, note(), True, at=(1 << 64) - 0x1000), "give it more with mem="),
        "where the boot information goes": (elf(code, note(), True, at=0x9e800), "a segment lies where the boot information goes"),
        "where no memory is": (elf(code, note(), True, at=0xa0000), "a segment lies where the guest has no memory"),
        "again and again": (elf(code, note(), True, parts=[(PT_NOTE, 64 + 7 * 56, 0, 20, 0)] + 6 * [(PT_LOAD, 0, AT, 0, 4 << 20)]),
                            "its segments together are larger than its memory"),
    }
    files = {f"g{n}": data for n, (data, _) in enumerate(cases.values())} | {"empty": b"\0", "big": bytes(15 << 20 | 1)}
    starts = [f"start {name} mem=16 boot={'flat' if name in ('empty', 'big') else 'pvh'}" for name in files if name != "empty"]
    text = console(starts, files)
    for name, (n, (_, why)) in zip(cases, enumerate(cases.values())):
        ok(re.search(rf"^g{n}: not a guest that can be started: .*{re.escape(why)}", text, re.M), f"refused: {name}", text=text[-2500:])
    ok("big: not a guest that can be started: it is empty, or larger than its memory" in text, "refused: a file larger than memory", text=text[-800:])


def linux(rng):
    """Debian's kernel itself, without what unpacks it: its words, its RAM disk as a module."""
    try:
        linux_guest.bring(linux_guest.LINUX_64)
    except linux_guest.NoGuest as why:
        skip("Linux by its PVH entry", f"it could not be fetched: {why}")
        return
    nonce = f"{rng.getrandbits(64):016x}"
    place = folder()
    initrd = linux_guest.make_initrd(linux_guest.LINUX_64, f"echo {nonce} $((2 * 21))\n".encode(), place / "initrd64")
    kernel = vmlinux.unpacked((linux_guest.LINUX_64.place / "linux64").read_bytes())
    text = console([f"start vmlinux mem=192 platform=pc-apic boot=pvh module=initrd64 -- {linux_guest.CMDLINE_64}"],
                   {"vmlinux": kernel, "initrd64": initrd.read_bytes()}, mem=448, idle=False)
    ok(f"{nonce} 42" in text and "d1 vmlinux: ended: guest powered off" in text, "Linux begins by its PVH entry, and comes to its shell", text=text[-3000:])


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=5", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of Lab 5 builds", out=built.out)
    rng = random.Random(int(os.environ.get("SEED") or random.randrange(2**32)))
    image = folder() / "entry"
    made = run("nasm", "-f", "bin", "-o", image, ROOT / "tests/load/entry.asm")
    ok(made.status == 0, "the guest is assembled", out=made.out)
    entered(image.read_bytes(), rng)
    refused(image.read_bytes())
    if os.environ.get("ZENO_ALL"):
        linux(rng)
    finish()


if __name__ == "__main__":
    main()
