#!/usr/bin/env python3
"""Takes the kernel itself, an ELF file, out of a bzImage: PV domains begin in it, and nobody there unpacks.

    vmlinux.py BZIMAGE VMLINUX

How it is packed the first bytes say (Linux: scripts/extract-vmlinux): xz, or LZ4 in its legacy frame (lz4_Frame_format.md,
"Legacy frame"), whose blocks are unpacked here (lz4_Block_format.md). The status is 1, after one line, if it is neither.
"""

import lzma
import struct
import sys
from pathlib import Path

import trouble

XZ = b"\xfd7zXZ\0"
LZ4 = b"\x02\x21\x4c\x18"
MATCH_MIN = 4


class NotUnpacked(Exception):
    """One line that says why."""


def payload(image):
    """What is packed, and the four bytes behind it, which tell its size (Documentation/x86/boot.rst, payload_offset)."""
    if image[0x202:0x206] != b"HdrS":
        raise NotUnpacked("it is no bzImage")
    offset, length = struct.unpack_from("<II", image, 0x248)
    at = (image[0x1F1] + 1) * 512 + offset
    return image[at:at + length]


def lz4_length(block, at, length):
    """A length of 15 goes on in the bytes that follow, up to the first that is not 255."""
    if length < 15:
        return length, at
    while block[at] == 255:
        length += 255
        at += 1
    return length + block[at], at + 1


def lz4_block(block):
    """Literals, then a match in what is there already, again and again; the last one has literals alone."""
    out, at = bytearray(), 0
    while at < len(block):
        token = block[at]
        count, at = lz4_length(block, at + 1, token >> 4)
        out += block[at:at + count]
        at += count
        if at >= len(block):
            break
        back = block[at] | block[at + 1] << 8
        count, at = lz4_length(block, at + 2, token & 15)
        count += MATCH_MIN
        start = len(out) - back
        piece = out[start:start + count]
        out += piece if len(piece) == count else (piece * (count // back + 1))[:count]
    return out


def lz4(data):
    """All blocks of a legacy frame; what is no whole block behind them is the size."""
    out, at = bytearray(), len(LZ4)
    while at + 4 < len(data):
        size, = struct.unpack_from("<I", data, at)
        out += lz4_block(data[at + 4:at + 4 + size])
        at += 4 + size
    return out


def unpacked(image):
    """The bytes of the kernel. Raises NotUnpacked."""
    data = payload(image)
    size, = struct.unpack("<I", data[-4:])
    if data.startswith(XZ):
        out = lzma.LZMADecompressor().decompress(data)
    elif data.startswith(LZ4):
        out = lz4(data)
    else:
        raise NotUnpacked(f"it is packed in a way that is not known here: {data[:6].hex()}")
    if len(out) != size:
        raise NotUnpacked(f"{len(out)} bytes came out of it, and it says {size}")
    return bytes(out)


def main():
    """The command line."""
    try:
        Path(sys.argv[2]).write_bytes(unpacked(Path(sys.argv[1]).read_bytes()))
    except (NotUnpacked, OSError, lzma.LZMAError, IndexError, struct.error) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(trouble.plain(main, 2, 2))
