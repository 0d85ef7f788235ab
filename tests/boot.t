#!/usr/bin/env python3
"""The way from the BIOS to a kernel: boot sector, loader, mkimage, kern/boot/entry.asm.

A small kernel (tests/boot/probe.asm) tells what it found; it must find the same under QEMU's
-kernel, from a disk on QEMU and from a disk on Bochs. Then everything is damaged, one thing at a
time: each must end in its message on COM1 and a halt, never in a reset.
"""

import concurrent.futures
import contextlib
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests/boot"))
import machines  # noqa: E402
from images import (  # noqa: E402
    Parts, expect_end, expect_stop, fact, facts, mkimage, rolling_sum,
)

SECTOR = 512
DIR = mkimage.DIR_LBA * SECTOR
KERNEL_LBA = mkimage.DIR_LBA + mkimage.DIR_SECTORS

tests = []


def test(name, needs=("qemu-system-x86_64",)):
    """Registers a test: a function of a fresh folder that returns what is wrong, or None."""

    def register(function):
        tests.append((name, needs, function))
        return function

    return register


parts = None  # made by main()


def boot_image(folder, data, **options):
    """Boots these bytes as a disk on QEMU."""
    image = folder / "disk.img"
    image.write_bytes(data)
    return machines.qemu(folder / "qemu", *machines.disk(image), **options)


def boot_bochs(folder, data):
    """Boots these bytes as a disk on Bochs, which wants whole cylinders."""
    image = folder / "disk.img"
    image.write_bytes(data)
    return machines.bochs(folder / "bochs", image, mkimage.geometry(len(data)))


# ---- it boots, and the kernel finds the same everywhere ----


@test("from a disk on QEMU: registers, segments, A20, memory, command lines, contents of modules")
def disk_facts(folder):
    dirty = parts.assemble_loader("dirty", "-DTEST_DIRTY")
    r = boot_image(folder, parts.make(loader=dirty))
    wanted = {
        "magic": ["2badb002"], "eflags": ["00000002"], "cr0": ["00000011"], "cr4": ["00000000"],
        "cs": ["00000008"], "cs-limit": ["ffffffff"], "ds": ["00000010"], "ds-limit": ["ffffffff"],
        "segments-equal": ["00000001"], "a20-alias": ["00000000"], "bss": ["00000000"],
        "pad": [f"{sum((0x9E3779B1 * (i + 1)) % 2**32 * 16 for i in range(1024)) % 2**32:08x}"],
        "flags": ["0000004d"], "cmdline": ["probe one=1 two"], "modules": ["00000002"],
        "module": [words for _, words in parts.modules],
        "misaligned": ["00000000"] * 2, "overlaps": ["00000000"] * 2,
        "bytes": [f"{path.stat().st_size:08x}" for path, _ in parts.modules],
        "sum": [rolling_sum(path.read_bytes()) for path, _ in parts.modules],
    }
    for name, values in wanted.items():
        if fact(r.serial, name) != values:
            return f"{name}: expected {values}, got {fact(r.serial, name)}\n{r.serial}"
    return expect_end(r, "off")


@test("QEMU's -kernel and the disk differ in no fact but the command lines")
def kernel_and_disk(folder):
    r = machines.qemu(
        folder / "kernel", "-kernel", str(parts.probe), "-append", "one=1 two",
        "-initrd", f"{parts.small} with words,{parts.big}",
    )
    d = boot_image(folder, parts.make())
    if not facts(r.serial) or facts(r.serial) != facts(d.serial):
        return f"-kernel:\n{r.serial}\ndisk:\n{d.serial}"
    return expect_end(r, "off")


@test("Bochs and QEMU differ in no fact but the memory's size", ("qemu-system-x86_64", "bochs"))
def bochs_and_qemu(folder):
    data = parts.make()
    machine_own = ("mem-", "ram-")
    b, q = ([line for line in r.serial.splitlines() if not line.startswith(machine_own)]
            for r in (boot_bochs(folder, data), boot_image(folder, data)))
    if not b or b != q:
        return f"Bochs:\n{b}\nQEMU:\n{q}"
    return None


@test("no modules; a module of no bytes; a kernel and modules with 16 MiB of memory")
def few_modules(folder):
    empty = folder / "empty"
    empty.write_bytes(b"")
    for i, (modules, mem, count) in enumerate(
        (([], 64, "00000000"), ([(empty, "empty"), (parts.small, "s")], 64, "00000002"),
         (parts.modules, 16, "00000002"))):
        (sub := folder / str(i)).mkdir()
        r = boot_image(sub, parts.make(modules=modules), mem=mem)
        if fact(r.serial, "modules") != [count] or r.end != "off":
            return f"{modules}: {r.end}\n{r.serial}"
        if fact(r.serial, "sum") != [rolling_sum(path.read_bytes()) for path, _ in modules]:
            return r.serial
    return None


HIGH = ["kernel_main", "magic=000000002badb002", "rip-slot=0000000001ffff05",
        "on-boot-stack=0000000000000001", "guard-page-aligned=0000000000000001",
        "initialised=0000000000001234", "bss=0000000000000000", "monitor=0000000000000001",
        "engines=0000000000000000", "efer=0000000000000900", "cr0=0000000080010033",
        "cr4=0000000000000020", "high: end"]


def check_high(result):
    missing = [line for line in HIGH if line not in result.serial]
    return f"missing {missing} in\n{result.serial}" if missing else expect_end(result, "off")


@test("entry.asm enters 64-bit C in the high half: -kernel, disk")
def high_half(folder):
    r = machines.qemu(folder / "kernel", "-kernel", str(parts.high))
    return check_high(r) or check_high(boot_image(folder, parts.make(parts.high)))


@test("entry.asm enters 64-bit C in the high half: Bochs", ("bochs",))
def high_half_bochs(folder):
    return check_high(boot_bochs(folder, parts.make(parts.high)))


@test("entry.asm refuses a CPU without long mode, and one without NX")
def old_cpus(folder):
    for name, cpu, message in (("a", "qemu32", "this CPU has no long mode"),
                               ("b", "qemu64,-nx", "this CPU has no NX")):
        r = machines.qemu(folder / name, "-kernel", str(parts.high), cpu=cpu)
        if wrong := expect_stop(r, message):
            return wrong
    return None


@test("A20 shut: the BIOS opens it, or the 8042, or port 0x92; if none can, it says so")
def a20(folder):
    every = ("BIOS", "8042", "FAST")
    for works in (*every, None):
        skip = [f"-DTEST_A20_SKIP_{x}" for x in every if x != works]
        loader = parts.assemble_loader(f"a20-{works}", "-DTEST_A20_OFF", *skip)
        (sub := folder / str(works)).mkdir()
        r = boot_image(sub, parts.make(loader=loader))
        if works is None:
            return expect_stop(r, "zeno loader: the A20 gate does not open")
        if fact(r.serial, "a20-alias") != ["00000000"] or r.end != "off":
            return f"only {works}: {r.end}\n{r.serial}"
    return None


@test("kernels at 64 KiB and high in memory; 5 GiB of memory")
def elsewhere(folder):
    for name, base, mem in (("low", 0x10000, 64), ("high", 0x2000000, 64), ("5g", 0x100000, 5120)):
        kernel = parts.assemble_probe(name, "-DPAD=65536", base=base)
        (sub := folder / name).mkdir()
        r = boot_image(sub, parts.make(kernel), mem=mem)
        sums = [rolling_sum(path.read_bytes()) for path, _ in parts.modules]
        if fact(r.serial, "sum") != sums or fact(r.serial, "bss") != ["00000000"] or r.end != "off":
            return f"{name}: {r.end}\n{r.serial}"
    return None


@test("an exception in the loader ends in a message, not in a reset")
def exception(folder):
    loader = parts.assemble_loader("exception", "-DTEST_EXCEPTION")
    message = "zeno loader: internal error: CPU exception 00000006"
    return expect_stop(boot_image(folder, parts.make(loader=loader)), message)


@test("a read that fails once is tried again")
def read_once(folder):
    r = boot_failing(folder, "once = \"on\"")
    if "probe: end" not in r.serial:
        return r.serial
    return expect_end(r, "off")


@test("a sector that can't be read is named")
def read_never(folder):
    message = "zeno loader: cannot read the kernel image from the disk (BIOS error 000000"
    return expect_stop(boot_failing(folder, ""), message)


def boot_failing(folder, option):
    """A disk on which a sector of the kernel can't be read."""
    image, rules = folder / "disk.img", folder / "rules"
    image.write_bytes(parts.make())
    rules.write_text(
        f'[inject-error]\nevent = "none"\niotype = "read"\nerrno = "5"\n'
        f'sector = "{KERNEL_LBA + 60}"\n{option}\n', encoding="utf-8")
    return machines.qemu(folder / "qemu", *machines.disk(f"blkdebug:{rules}:{image}"))


# ---- damage ----


def flipped(data, at):
    """`data` with one bit changed."""
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:]


def module_lba(index):
    """The first sector of a module of the good image."""
    at = DIR + mkimage.DIR_HEADER.size + (index + 1) * mkimage.DIR_ITEM.size
    return mkimage.DIR_ITEM.unpack_from(parts.image.read_bytes(), at)[1]


def with_directory(data, change):
    """`data` with its directory changed by change(bytearray), under a right checksum."""
    d = bytearray(data[DIR:DIR + mkimage.DIR_BYTES])
    change(d)
    d[20:24] = bytes(4)
    d[20:24] = struct.pack("<I", zlib.crc32(d))
    return data[:DIR] + bytes(d) + data[DIR + len(d):]


def damage(name, message, make, **options):
    """Registers a test: the image make(good bytes) must stop with `message`."""

    @test(f"{name}: {message}")
    def damaged(folder):
        return expect_stop(boot_image(folder, make(parts.image.read_bytes()), **options), message)


damage("boot sector alone", "zeno boot: cannot read the loader", lambda d: d[:SECTOR])
damage("cut in the loader", "zeno boot: the loader on the disk is damaged",
       lambda d: d[:4 * SECTOR])
damage("bit in the loader", "zeno boot: the loader on the disk is damaged",
       lambda d: flipped(d, 5000))
damage("cut after the loader", "zeno loader: cannot read the image directory from the disk",
       lambda d: d[:DIR])
damage("cut in the kernel", "zeno loader: the disk image is truncated", lambda d: d[:40 * SECTOR])
damage("cut in a module", "zeno loader: the disk image is truncated",
       lambda d: d[:(module_lba(1) + 100) * SECTOR])
damage("bit in the directory", "zeno loader: the image directory is damaged (checksum",
       lambda d: flipped(d, DIR + 40))
damage("bit in a command line", "zeno loader: the image directory is damaged (checksum",
       lambda d: flipped(d, DIR + 140))
damage("bit in the magic", "zeno loader: no image directory on this disk (bad magic)",
       lambda d: flipped(d, DIR))
damage("another version", "zeno loader: the image directory has another version",
       lambda d: flipped(d, DIR + 8))
damage("a directory without items", "zeno loader: the image directory makes no sense",
       lambda d: with_directory(d, lambda x: x.__setitem__(slice(12, 16), bytes(4))))
damage("a directory with 1000 items", "zeno loader: the image directory makes no sense",
       lambda d: with_directory(d, lambda x: x.__setitem__(slice(12, 16), struct.pack("<I", 1000))))
damage("bit in the kernel", "zeno loader: kernel image is damaged (checksum",
       lambda d: flipped(d, (KERNEL_LBA + 9) * SECTOR + 77))
damage("bit in the first module", "zeno loader: module small is damaged (checksum",
       lambda d: flipped(d, module_lba(0) * SECTOR + 1))
damage("last bit of the last module", "zeno loader: module big is damaged (checksum",
       lambda d: flipped(d, module_lba(1) * SECTOR + parts.big.stat().st_size - 1))


@test("damage on Bochs: a bit in the kernel, a cut image", ("bochs",))
def damage_bochs(folder):
    good = parts.image.read_bytes()
    cases = (
        (flipped(good, (KERNEL_LBA + 9) * SECTOR + 77),
         "zeno loader: kernel image is damaged (checksum"),
        (good[:mkimage.CYLINDER], "zeno loader: the disk image is truncated"),
    )
    for i, (data, message) in enumerate(cases):
        (sub := folder / str(i)).mkdir()
        if wrong := expect_stop(boot_bochs(sub, data), message):
            return wrong
    return None


# ---- kernels that mkimage refuses, and so does the loader ----


def patched(fmt, at, *values):
    """The probe's file with a field changed."""
    data = bytearray(parts.probe.read_bytes())
    struct.pack_into(fmt, data, at, *values)
    return bytes(data)


PHDR = 52  # ld puts the program headers behind the ELF header

BAD_KERNELS = [
    ("text", "not an ELF file", lambda: b"#!/bin/sh\n" * 100),
    ("an empty file", "not an ELF file", lambda: b""),
    ("ELF64", "not a 32-bit executable for the 386", lambda: patched("<B", 4, 2)),
    ("for another machine", "not a 32-bit executable for the 386", lambda: patched("<H", 18, 8)),
    ("an object file", "not a 32-bit executable for the 386", lambda: patched("<H", 16, 1)),
    ("program headers elsewhere", "program headers are not in the file",
     lambda: patched("<I", 28, 0x7FFFFF00)),
    ("program headers that wrap", "program headers are not in the file",
     lambda: patched("<I", 28, 0xFFFFFFE0)),
    ("truncated", "segment", lambda: parts.probe.read_bytes()[:2000]),
    ("a segment's offset that wraps", "segment", lambda: patched("<I", PHDR + 4, 0xFFFFFF00)),
    ("larger in the file than in memory", "segment", lambda: patched("<I", PHDR + 20, 16)),
    ("a segment in the loader's memory", "segment at ", lambda: patched("<I", PHDR + 12, 0x8000)),
    ("a segment in ROM", "segment at ", lambda: patched("<I", PHDR + 12, 0xA0000)),
    ("a segment that wraps", "segment at ", lambda: patched("<I", PHDR + 20, 0xFFF80000)),
    ("an entry point elsewhere", "in no segment", lambda: patched("<I", 24, 0x200000)),
    ("no multiboot header", "no multiboot header",
     lambda: parts.probe.read_bytes().replace(struct.pack("<I", 0x1BADB002), bytes(4), 1)),
    ("unknown multiboot features", "requires multiboot features",
     lambda: parts.probe.read_bytes().replace(
         struct.pack("<III", 0x1BADB002, 3, 2**32 - 0x1BADB005),
         struct.pack("<III", 0x1BADB002, 7, 2**32 - 0x1BADB009), 1)),
]


def bad_kernel(name, message, make):
    """Registers two tests: mkimage refuses the kernel, and so does the loader."""

    @test(f"mkimage refuses a kernel: {name}", ())
    def refused(folder):
        path = folder / "kernel"
        path.write_bytes(make())
        return expect_refusal(folder, message_of_mkimage(message), "--kernel", path)

    @test(f"the loader refuses a kernel: {name}")
    def stopped(folder):
        return expect_stop(boot_image(folder, parts.make_unchecked(folder, make())), message)


def message_of_mkimage(message):
    """mkimage says less where it can't know the machine."""
    return {"program headers are not in the file": "program headers",
            "segment at ": "segment"}.get(message, message)


def expect_refusal(folder, message, *arguments):
    """mkimage must fail with status 1 and one line, and leave what was there as it was."""
    out = folder / "out.img"
    out.write_bytes(b"precious")
    p = subprocess.run(
        [sys.executable, ROOT / "tools/mkimage.py", "-o", out, "--mbr", parts.mbr, "--loader",
         parts.loader, *arguments], capture_output=True, text=True, check=False)
    if p.returncode != 1 or message not in p.stderr or p.stderr.count("\n") != 1:
        return f"expected status 1 and: {message}\ngot {p.returncode}: {p.stderr}"
    if out.read_bytes() != b"precious" or len(list(folder.glob(".mkimage-*"))) != 0:
        return "the image that was there is lost, or a temporary file is left"
    return None


for case in BAD_KERNELS:
    bad_kernel(*case)


@test("a kernel with more memory than the machine has is refused")
def large_bss(folder):
    kernel = parts.assemble_probe("large-bss", "-DBSS=0x8000000")
    message = "zeno loader: bad kernel image: the segment at 00100000 with 0800"
    return expect_stop(boot_image(folder, parts.make(kernel)), message)


@test("a kernel whose segments would run over its file at the top of memory is refused")
def no_room_to_copy(folder):
    kernel = parts.assemble_probe("tight", "-DBSS=0x3e00000")
    data = kernel.read_bytes() + bytes(4 << 20)
    message = "zeno loader: the kernel image is too large for this machine's memory: segment at"
    return expect_stop(boot_image(folder, parts.make_unchecked(folder, data)), message)


@test("a kernel file and a module larger than the memory are refused")
def large_files(folder):
    module = folder / "module"
    module.write_bytes(bytes(20 << 20))
    too_large = "is too large for this machine's memory ("
    for name, image, message in (
        ("a", parts.make_unchecked(folder, parts.probe.read_bytes() + bytes(20 << 20)),
         f"zeno loader: the kernel image {too_large}"),
        ("b", parts.make(modules=[(module, "huge one")]), f"zeno loader: module huge {too_large}"),
    ):
        (sub := folder / name).mkdir()
        if wrong := expect_stop(boot_image(sub, image, mem=16), message):
            return wrong
    return None


# ---- mkimage ----


@test("mkimage: the same input gives the same bytes; --geometry says how many cylinders", ())
def reproducible(folder):
    images = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        out = folder / name / "disk.img"
        p = subprocess.run(
            [sys.executable, ROOT / "tools/mkimage.py", "-o", out, "--mbr", parts.mbr, "--loader",
             parts.loader, "--kernel", parts.probe, "--cmdline", "a b", "--geometry",
             "--module", parts.big, "big one"], capture_output=True, text=True, check=True)
        images.append(out.read_bytes())
    size = len(images[0])
    if images[0] != images[1]:
        return "two images of the same input differ"
    cylinders, rest = divmod(size, 16 * 63 * 512)
    if rest or p.stdout != f"cylinders={cylinders}, heads=16, spt=63\n":
        return f"{size} bytes, geometry {p.stdout!r}"
    return None


@test("mkimage leaves a kernel's symbols and debug information out of the image", ())
def trimmed(folder):
    grown = folder / "grown"
    grown.write_bytes(parts.probe.read_bytes() + b"debug information" * 100000)
    if parts.make(grown) != parts.make():
        return "what follows the last segment is in the image"
    return None


@test("mkimage: missing files, overlapping segments, too long command lines", ())
def refusals(folder):
    # a second segment over the first
    data = bytearray(parts.probe.read_bytes())
    data[PHDR + 32:PHDR + 64] = data[PHDR:PHDR + 32]
    (folder / "overlap").write_bytes(data)
    probe = ["--kernel", parts.probe]
    return (
        expect_refusal(folder, "No such file", "--kernel", folder / "nothing")
        or expect_refusal(folder, "No such file", *probe, "--module", folder / "nothing", "x")
        or expect_refusal(folder, "Is a directory", "--kernel", folder)
        or expect_refusal(folder, "overlaps", "--kernel", folder / "overlap")
        or expect_refusal(folder, "do not fit in the directory", *probe, "--cmdline", "x" * 9000)
        or expect_refusal(folder, "must be ASCII", *probe, "--cmdline", "caf\u00e9")
        or expect_refusal(folder, "not a boot sector", *probe, "--mbr", parts.loader)
        or expect_refusal(folder, "not the loader", *probe, "--loader", parts.mbr)
        or expect_refusal(folder, "65 modules", *probe, *["--module", parts.small, "x"] * 65)
    )


@test("each lab's image with Linux in it: the loader takes as many modules as there are", ())
def with_linux(folder):
    for lab in ("5", "all"):
        asked = ["make", "-n", f"LAB={lab}", "SOLUTION=1", "LINUX=1", "REF=", "bochs"]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if "tools/run.py" in line]
        count = lines[0].count(" --module ") if lines else 0
        if not 30 < count <= mkimage.MODULES_MAX:
            return f"{' '.join(asked)}: {count} modules, the loader takes {mkimage.MODULES_MAX}\n{done.stderr}"
    return None


# ---- random damage ----

SEED = int(os.environ.get("SEED") or 1)
SPOILT = int(os.environ.get("ROUNDS") or 24)
"""Disks that are spoilt at random, from this seed on; each is one boot."""
FIELDS = (4, 5, 6, 16, 17, 18, 19, *range(28, 32), 42, 43, 44, 45, *range(PHDR + 4, PHDR + 8), *range(PHDR + 12, PHDR + 24))
"""Of the kernel's ELF header and first program header: all but where it begins, which is the kernel's affair."""


def spoilt(data, dice):
    """An image with one thing wrong, and what that is."""
    number = dice.randrange(1, 4)
    used = mkimage.DIR_HEADER.size + 3 * mkimage.DIR_ITEM.size
    kind = dice.randrange(5)
    if kind == 0:
        size = dice.randrange(SECTOR, len(data))
        return data[:size], f"cut to {size} bytes"
    if kind == 1:
        where = [dice.randrange(used) for _ in range(number)]

        def change(directory):
            for at in where:
                directory[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))

        return with_directory(data, change), f"bytes {where} of the directory, under a right checksum"
    if kind == 2:
        at = dice.randrange(used // 4) * 4

        def word(directory):
            directory[at:at + 4] = struct.pack("<I", dice.getrandbits(dice.randrange(33)))

        return with_directory(data, word), f"word {at} of the directory, under a right checksum"
    data = bytearray(data)
    if kind == 3:
        where = [KERNEL_LBA * SECTOR + dice.choice(FIELDS) for _ in range(number)]
    else:
        where = [dice.randrange(SECTOR, DIR + mkimage.DIR_BYTES) for _ in range(number)]
    for at in where:
        data[at] = dice.randrange(256)
    return bytes(data), f"bytes {where} of the disk"


def spoilt_disk(number):
    """Registers a test: this disk boots the probe, or stops in one line of the loader's."""

    @test(f"a disk spoilt at random, seed {SEED}, number {number}")
    def boots_or_stops(folder):
        data, what = spoilt(parts.image.read_bytes(), random.Random(f"{SEED}/{number}"))
        result = boot_image(folder, data)
        lines = [line for line in result.serial.replace("\r", "").split("\n") if line]
        if result.end == "halt" and len(lines) == 1 and lines[0].startswith("zeno "):
            return None
        if result.end == "off" and fact(result.serial, "cmdline"):
            return None
        return f"{what}: {result.end}\n{result.serial[-500:]}"


for i in range(SPOILT):
    spoilt_disk(i)


# ---- TAP ----


def attempt(base, number):
    """Runs test `number`: (skip reason, what is wrong)."""
    _, needs, function = tests[number]
    for program in needs:
        if not shutil.which(program):
            return f"{program} is not installed", None
    folder = Path(base) / f"t{number}"
    folder.mkdir()
    try:
        return None, function(folder)
    except Exception as e:  # one broken test must not hide the others' results
        return None, f"{type(e).__name__}: {e}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    global parts
    missing = [p for p in ("nasm", "ld", "gcc", "objcopy") if not shutil.which(p)]
    if missing:
        print(f"Bail out! not installed: {' '.join(missing)}")
        return 1
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(tempfile.TemporaryDirectory(prefix="zeno-boot-"))
        parts = Parts(Path(base))
        workers = concurrent.futures.ThreadPoolExecutor(max(2, os.cpu_count() or 2))
        pool = stack.enter_context(workers)
        results = [pool.submit(attempt, base, n) for n in range(len(tests))]
        for n, (result, (name, _, _)) in enumerate(zip(results, tests), 1):
            skip, wrong = result.result()
            words = name.replace("#", "\\#")
            if skip:
                print(f"ok {n} - {words} # SKIP {skip}", flush=True)
                continue
            print(f"{'not ok' if wrong else 'ok'} {n} - {words}", flush=True)
            if wrong:
                failed += 1
                print("\n".join(f"# {line}" for line in str(wrong).splitlines()), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
