#!/usr/bin/env python3
"""Make the RAM disk of guest/os: `mkramdisk.py -o IMAGE TREE PROGRAM...`.

All files below TREE come to the same place on the disk, programs to /bin; /tmp is there and empty. The
layout is guest/os/abi.h's. The image ends after the last block that is used; the kernel has the rest.
"""

import argparse
import struct
import sys
from pathlib import Path

import trouble

MAGIC = 0x6B736452
BLOCK = 1024
BLOCKS = 1024
INODES = 256
BITMAP_BLOCK = 1
INODE_BLOCK = 2
DATA_BLOCK = INODE_BLOCK + INODES * 64 // BLOCK
DIRECT = 13
NAME_BYTES = 28
T_DIR, T_FILE = 1, 2
ROOT = 1


class DiskError(Exception):
    """Something does not fit; the text says what."""


class Disk:
    """The disk while it is filled."""

    def __init__(self):
        self.blocks = []
        self.inodes = [(0, b"", ())] * INODES
        self.used = ROOT

    def block(self, data):
        """A new block's number."""
        number = DATA_BLOCK + len(self.blocks)
        if number >= BLOCKS:
            raise DiskError(f"more than {BLOCKS} blocks: raise DISK_BLOCKS in guest/os/abi.h and here")
        self.blocks.append(data.ljust(BLOCK, b"\0"))
        return number

    def inode(self):
        """A new inode's number."""
        if self.used == INODES:
            raise DiskError(f"more than {INODES} files")
        self.used += 1
        return self.used - 1

    def put(self, inum, kind, data):
        """Give an inode its type and its bytes."""
        numbers = [self.block(data[i:i + BLOCK]) for i in range(0, len(data), BLOCK)]
        further = numbers[DIRECT:]
        if len(further) > BLOCK // 4:
            raise DiskError(f"a file of {len(data)} bytes is too long")
        if further:
            last = self.block(struct.pack(f"<{len(further)}I", *further))
            numbers = numbers[:DIRECT] + [last]
        self.inodes[inum] = (kind, data, numbers)

    def folder(self, inum, parent, entries):
        """Fill a directory: {name: a dict of the same kind, or bytes}."""
        found = [(inum, "."), (parent, "..")]
        for name, what in sorted(entries.items()):
            child = self.inode()
            if isinstance(what, dict):
                self.folder(child, inum, what)
            else:
                self.put(child, T_FILE, what)
            found.append((child, name))
        data = b""
        for number, name in found:
            if len(name) >= NAME_BYTES:
                raise DiskError(f"{name}: the name is too long")
            data += struct.pack(f"<I{NAME_BYTES}s", number, name.encode("ascii"))
        self.put(inum, T_DIR, data)

    def image(self):
        """All bytes."""
        used = DATA_BLOCK + len(self.blocks)
        bitmap = ((1 << used) - 1).to_bytes(BLOCK, "little")
        table = b"".join(struct.pack(f"<HHI{DIRECT + 1}I", kind, 1 if kind else 0, len(data),
                                     *numbers, *[0] * (DIRECT + 1 - len(numbers)))
                         for kind, data, numbers in self.inodes)
        return struct.pack("<I", MAGIC).ljust(BLOCK, b"\0") + bitmap + table + b"".join(self.blocks)


def tree_of(folder):
    """A folder as {name: dict or bytes}."""
    return {path.name: tree_of(path) if path.is_dir() else path.read_bytes()
            for path in sorted(Path(folder).iterdir())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("tree")
    parser.add_argument("programs", nargs="*")
    args = parser.parse_args()
    try:
        tree = tree_of(args.tree)
        tree["bin"] = {Path(name).stem: Path(name).read_bytes() for name in args.programs}
        tree["tmp"] = {}
        disk = Disk()
        disk.folder(disk.inode(), ROOT, tree)
        Path(args.output).write_bytes(disk.image())
    except (DiskError, OSError) as error:
        print(f"mkramdisk.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
