#!/usr/bin/env python3
"""Makes a raw disk image that boot/mbr.asm and boot/loader.asm boot on a BIOS.

    mkimage.py -o disk.img --kernel zeno.mb --cmdline "zeno paranoid=1 -- help" \\
               --module build/guest/hello.mb "hello" --module FILE "name words..."

The layout is described in boot/layout.inc:

    sector 0    boot sector, with the sum of the loader's dwords at byte 0x1b4
    sector 1    loader
    sector 17   directory: magic, version, CRC-32; per item kind, sector, length, CRC-32, words
    sector 33   the items, each from a sector of its own; zeros up to a whole cylinder

The kernel is an ELF32 executable for the 386 with a multiboot 1 header; all that the loader would
refuse is refused here first, so that a mistake shows when the image is made. The same input gives
the same bytes. The image appears under its name only when it is complete.
"""

import argparse
import os
import struct
import sys
import tempfile
import zlib
from pathlib import Path

import trouble

BOOT = Path(__file__).resolve().parent.parent / "build/boot"
SECTOR = 512
HEADS, SPT = 16, 63
CYLINDER = HEADS * SPT * SECTOR  # Bochs wants cylinders * heads * spt sectors, exactly

MBR_SUM = 0x1B4
LOADER_SECTORS = 16
DIR_LBA, DIR_SECTORS = 17, 16
DIR_BYTES = DIR_SECTORS * SECTOR
DIR_HEADER = struct.Struct("<8sIIII8x")
DIR_ITEM = struct.Struct("<IIIII12x")
DIR_VERSION = 1
ITEM_KERNEL, ITEM_MODULE = 1, 2
MODULES_MAX = 64

KERNEL_MIN = 0x10000  # the loader's own memory lies below
ELF_HEADER = struct.Struct("<4sBB10xHHIIIIIHHH")
PROGRAM_HEADER = struct.Struct("<IIIIIIII")
PT_LOAD = 1
MULTIBOOT_MAGIC = 0x1BADB002
MULTIBOOT_SEARCH = 8192
MULTIBOOT_KNOWN = 0x3


class ImageError(Exception):
    """What is wrong with the input, in one line."""


def read(path):
    """The bytes of a file, or an ImageError that names it."""
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:
        raise ImageError(f"{path}: {e.strerror}") from e


def load_segments(path, data):
    """The PT_LOAD headers of an ELF32 file as (offset, paddr, filesz, memsz); checks the file."""
    if len(data) < ELF_HEADER.size or data[:4] != b"\x7fELF":
        raise ImageError(f"{path}: not an ELF file")
    header = ELF_HEADER.unpack_from(data)
    _, elf_class, order, kind, machine, _, entry, phoff, _, _, _, phentsize, phnum = header
    if (elf_class, order, kind, machine) != (1, 1, 2, 3):
        raise ImageError(
            f"{path}: not a 32-bit executable for the 386 (objcopy -O elf32-i386 makes one)"
        )
    if phentsize != PROGRAM_HEADER.size or not phnum:
        raise ImageError(f"{path}: no program headers")
    if phoff + phnum * phentsize > len(data):
        raise ImageError(f"{path}: truncated: its program headers are not in the file")
    segments = []
    for i in range(phnum):
        kind, offset, vaddr, paddr, filesz, memsz, _, _ = PROGRAM_HEADER.unpack_from(
            data, phoff + i * phentsize
        )
        if kind == PT_LOAD and memsz:
            segments.append((offset, vaddr, paddr, filesz, memsz))
    # A linear address, or meant to be physical (boot/elf.inc).
    if not any(at <= entry < at + memsz for _, vaddr, paddr, _, memsz in segments for at in (vaddr, paddr)):
        raise ImageError(f"{path}: its entry point {entry:#x} is in no segment")
    return segments


def check_segments(path, data, segments):
    """Refuses segments that are not in the file, reach the loader's memory, or overlap."""
    end = 0
    for offset, _, paddr, filesz, memsz in sorted(segments, key=lambda s: s[2]):
        if offset + filesz > len(data):
            raise ImageError(f"{path}: truncated: the segment at {paddr:#x} is not in the file")
        if filesz > memsz:
            raise ImageError(f"{path}: the segment at {paddr:#x} is smaller in memory than on disk")
        if paddr < KERNEL_MIN:
            raise ImageError(
                f"{path}: the segment at {paddr:#x} lies in the loader's memory"
                f" (below {KERNEL_MIN:#x})"
            )
        if paddr < 0x100000 and paddr + memsz > 0xA0000:
            raise ImageError(
                f"{path}: the segment at {paddr:#x} lies in the ROM area below 1 MiB"
                " (the ELF headers? link with ld -n)"
            )
        if paddr + memsz > 1 << 32:
            raise ImageError(f"{path}: the segment at {paddr:#x} does not end below 4 GiB")
        if paddr < end:
            raise ImageError(f"{path}: the segment at {paddr:#x} overlaps the one below it")
        end = paddr + memsz


def check_multiboot(path, data):
    """Refuses a kernel without a multiboot 1 header, or one that requires what we have not."""
    head = data[:MULTIBOOT_SEARCH]
    for offset in range(0, len(head) - 11, 4):
        magic, flags, checksum = struct.unpack_from("<III", head, offset)
        if magic == MULTIBOOT_MAGIC and (magic + flags + checksum) & 0xFFFFFFFF == 0:
            if flags & 0xFFFF & ~MULTIBOOT_KNOWN:
                raise ImageError(f"{path}: requires multiboot features we have not ({flags:#x})")
            return
    raise ImageError(f"{path}: no multiboot header in its first 8 KiB")


def check_kernel(path, data):
    """All that the loader checks in a kernel but for the size of the machine's memory.

    Returns what the loader needs of the file: symbols and debug information, which come after the
    last segment, would only make the disk slower.
    """
    segments = load_segments(path, data)
    check_segments(path, data, segments)
    check_multiboot(path, data)
    phoff, phnum = struct.unpack_from("<28xI12xH", data)
    headers = phoff + phnum * PROGRAM_HEADER.size
    return data[:max(headers, *(offset + filesz for offset, _, _, filesz, _ in segments))]


def text(words, what):
    """A command line as the loader hands it over: ASCII, ended by a zero byte."""
    if not words.isascii() or "\0" in words:
        raise ImageError(f"{what}: the command line must be ASCII without a zero byte")
    return words.encode("ascii") + b"\0"


def directory(items, end):
    """The directory's bytes. `items` are (kind, sector, bytes, command line); `end` in sectors."""
    strings_at = DIR_HEADER.size + len(items) * DIR_ITEM.size
    entries, strings = b"", b""
    for kind, lba, data, words in items:
        at = strings_at + len(strings)
        entries += DIR_ITEM.pack(kind, lba, len(data), zlib.crc32(data), at)
        strings += words
    if strings_at + len(strings) >= DIR_BYTES:
        raise ImageError(f"the command lines do not fit in the directory of {DIR_BYTES} bytes")

    def whole(crc):
        header = DIR_HEADER.pack(b"ZENODISK", DIR_VERSION, len(items), end, crc)
        return (header + entries + strings).ljust(DIR_BYTES, b"\0")

    return whole(zlib.crc32(whole(0)))


def sectors(size):
    """How many sectors `size` bytes take."""
    return -(-size // SECTOR)


def make(kernel, cmdline, modules, mbr, loader):
    """The whole image. `kernel`, `mbr`, `loader` are paths; `modules` a list of (path, words)."""
    boot, second = read(mbr), read(loader)
    if len(boot) != SECTOR or boot[-2:] != b"\x55\xaa":
        raise ImageError(f"{mbr}: not a boot sector")
    if len(second) != LOADER_SECTORS * SECTOR:
        raise ImageError(f"{loader}: not the loader ({LOADER_SECTORS * SECTOR} bytes)")
    total = sum(struct.unpack(f"<{len(second) // 4}I", second)) & 0xFFFFFFFF
    boot = boot[:MBR_SUM] + struct.pack("<I", total) + boot[MBR_SUM + 4:]

    needed = check_kernel(kernel, read(kernel))
    contents = [(ITEM_KERNEL, needed, text(cmdline, "kernel"))]
    for path, words in modules:
        contents.append((ITEM_MODULE, read(path), text(words, path)))
    if len(modules) > MODULES_MAX:
        raise ImageError(f"{len(modules)} modules; the loader takes {MODULES_MAX}")

    items, lba = [], DIR_LBA + DIR_SECTORS
    for kind, data, words in contents:
        items.append((kind, lba, data, words))
        lba += sectors(len(data))
    image = bytearray(-(-lba * SECTOR // CYLINDER) * CYLINDER)
    image[0:SECTOR] = boot
    image[SECTOR:SECTOR + len(second)] = second
    image[DIR_LBA * SECTOR:DIR_LBA * SECTOR + DIR_BYTES] = directory(items, lba)
    for _, at, data, _ in items:
        image[at * SECTOR:at * SECTOR + len(data)] = data
    return bytes(image)


def write_atomically(path, data):
    """Puts `data` under `path` in one step; on an error what was there stays."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        fd, temporary = tempfile.mkstemp(prefix=".mkimage-", dir=folder)
    except OSError as e:
        raise ImageError(f"{folder}: {e.strerror}") from e
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(f.fileno(), 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as e:
        os.unlink(temporary)
        raise ImageError(f"{path}: {e.strerror}") from e
    except BaseException:
        os.unlink(temporary)
        raise


def geometry(size):
    """The words for a bochsrc's ata0-master line."""
    return f"cylinders={size // CYLINDER}, heads={HEADS}, spt={SPT}"


def arguments():
    parser = argparse.ArgumentParser(
        description="Make a raw disk image that Zeno's own boot sector boots."
    )
    parser.add_argument("-o", "--output", required=True, metavar="IMAGE")
    parser.add_argument("--kernel", required=True, metavar="FILE", help="multiboot ELF32 image")
    parser.add_argument("--cmdline", default="", metavar="WORDS", help="the kernel's command line")
    parser.add_argument(
        "--module", nargs=2, action="append", default=[], metavar=("FILE", "WORDS"),
        help="a module and its command line, whose first word names it; may be repeated",
    )
    parser.add_argument("--mbr", default=BOOT / "mbr.bin", metavar="FILE", help="see `make boot`")
    parser.add_argument("--loader", default=BOOT / "loader.bin", metavar="FILE", help="the same")
    parser.add_argument(
        "--geometry", action="store_true", help="print the disk's geometry as in a bochsrc"
    )
    return parser.parse_args()


def main():
    args = arguments()
    try:
        image = make(args.kernel, args.cmdline, args.module, args.mbr, args.loader)
        write_atomically(args.output, image)
    except ImageError as e:
        print(f"mkimage: {e}", file=sys.stderr)
        return 1
    if args.geometry:
        print(geometry(len(image)))
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
