#!/usr/bin/env python3
"""Frames, roots, FPU and debug registers: the host's functions called from outside, one by one."""

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import finish, ok  # noqa: E402
from stopped import DIRECT, NX, P, U, W, Stopped, need_qemu  # noqa: E402
from zeno.judging import headers  # noqa: E402

RESERVED, FREE, HOST, GUEST = range(4)
GDT_WINDOW, = headers.numbers(("kern/map.h",), ("GDT_WINDOW",))
NONE = (1 << 64) - 1
SCRATCH = DIRECT + 0x3000000  # RAM that nobody uses: the page allocator keeps its links elsewhere


def record(host, mfn):
    """(refs, owner, type) of struct frame."""
    frames = host.words(host.at("frames"))[0]
    return struct.unpack("<IHB", host.gdb.read(frames + 16 * mfn, 7))


def same(pages):
    """Pages as values."""
    return {(page.va, page.pa, page.size, page.writable, page.user, page.executable)
            for page in pages}


def frames(host):
    """The frame table, and what frame_alloc() and frame_put() do with it."""
    types = {name: record(host, address >> 12)[2] for name, address in (
        ("page 0", 0), ("the screen", 0xB8000), ("the BIOS", 0xF0000), ("the image", 0x100000),
        ("page tables", host.cpu()["cr3"]), ("other RAM", SCRATCH - DIRECT))}
    ok(list(types.values()) == [RESERVED] * 3 + [HOST] * 2 + [FREE], "types in the frame table",
       got=types)
    before = host.call("frames_free")
    mfn = host.call("frame_alloc", GUEST, 7)
    ok(record(host, mfn) == (1, 7, GUEST), "frame_alloc: one reference, owner, type",
       got=record(host, mfn))
    ok(not any(host.words(DIRECT + (mfn << 12), 512)), "and it is full of zeros")
    ok(host.call("frames_free") == before - 1, "and one frame fewer is free")
    host.call("frame_put", mfn)
    ok(record(host, mfn) == (0, 0, FREE) and host.call("frames_free") == before,
       "without references it is free")


def roots(host):
    """root_new, page_map, page_unmap, a slot 260 of its own, root_free."""
    before, main = host.call("frames_free"), host.cpu()["cr3"]
    shared = same(host.pages(main))
    mfn = host.call("frame_alloc", GUEST, 7)
    root = host.call("root_new")
    ok(same(host.pages(root << 12)) == shared, "a new root has what all roots have")
    wanted = {(0x400000, mfn << 12, 4096, True, True, True),
              (0xFFFFF000, mfn << 12, 4096, False, False, False),
              (0x7FFFFFFFE000, mfn << 12, 4096, True, True, True)}
    for va, flags in ((0x400000, P | W | U), (0xFFFFF000, P | NX), (0x7FFFFFFFE000, P | W | U)):
        host.call("page_map", root, va, mfn, flags)
    ok(same(host.pages(root << 12, 0, 255)) == wanted, "page_map: with its rights, and nothing else")
    host.call("page_unmap", root, 0x400000)
    host.call("page_unmap", root, 0x40000000)
    ok(len(same(host.pages(root << 12, 0, 255))) == 2, "page_unmap: one; nothing where nothing is")
    host.gdb.write(host.call("root_slot", root, 260), bytes(8))
    host.call("page_map", root, GDT_WINDOW + 0x3000, mfn, P | NX)
    ok(same(host.pages(root << 12, 260, 260)) ==
       {(GDT_WINDOW + 0x3000, mfn << 12, 4096, False, False, False)}, "a slot 260 of its own")
    ok(same(host.pages(main)) == shared, "and nobody else sees it")
    host.call("root_free", root)
    ok(record(host, mfn)[0] == 1, "root_free leaves the frames that were mapped alone")
    host.call("frame_put", mfn)
    ok(host.call("frames_free") == before, "and gives all tables back")
    ok(same(host.pages(main)) == shared, "the host's own root is as it was")


def fpu(host):
    """What is put in comes out again; nothing is left for the next; TS and EM don't matter."""
    area, out, clean = SCRATCH, SCRATCH + 512, SCRATCH + 1024
    image = bytearray(512)
    struct.pack_into("<HHBxHQQII", image, 0, 0x027F, 0x3800, 0xFF, 0x123, 0, 0, 0x1F80, 0)
    for n in range(8):
        image[32 + 16 * n:42 + 16 * n] = bytes(range(n, n + 8)) + b"\x01\x40"
    image[160:416] = bytes(i * 7 & 0xFF for i in range(256))
    host.gdb.write(area, bytes(image))
    host.call("fpu_restore", area)
    host.gdb.set_reg("cr0", host.gdb.regs()["cr0"] | 0xC)
    stuck = host.gdb.regs()["cr0"] & 0xC
    host.call("fpu_save", out)
    got = host.gdb.read(out, 512)
    ok(got[:6] == image[:6] and got[24:28] == image[24:28] and got[32:416] == image[32:416],
       "fpu_restore, fpu_save: x87 and XMM registers", got=got[:416].hex(), want=image[:416].hex())
    ok(stuck == 0xC and not host.gdb.regs()["cr0"] & 0xC, "even where a guest left TS and EM set")
    host.call("fpu_init")
    host.call("fpu_save", clean)
    got = host.gdb.read(clean, 512)
    ok(got[:5] == b"\x7f\x03\0\0\0" and got[24:28] == b"\x80\x1f\0\0" and not any(got[32:416]),
       "fpu_init: every register at its reset value", got=got[:416].hex())


def debug_registers(host):
    """They go in and out; GD, with which the host would trap itself, does not go in."""
    values = [0x1000, 0x2000, 0x3000, 0x4000, 0, 0, 0xFFFF0FF0, 0x2455]
    host.gdb.write(SCRATCH, struct.pack("<8Q", *values))
    host.call("debug_registers_restore", SCRATCH)
    cpu = host.cpu()
    ok([cpu[f"dr{n}"] for n in (0, 1, 2, 3, 7)] == values[:4] + [0x455], "debug registers, but GD",
       got=[hex(cpu[f"dr{n}"]) for n in (0, 1, 2, 3, 7)])
    host.call("debug_registers_save", SCRATCH + 64)
    saved = host.words(SCRATCH + 64, 8)
    ok([*saved[:4], saved[7]] == values[:4] + [0x455] and host.cpu()["dr7"] == 0x400,
       "saved, and off while they belong to nobody", got=[hex(word) for word in saved])
    host.call("debug_registers_clear")
    ok([host.cpu()[f"dr{n}"] for n in (0, 1, 2, 3)] == [0] * 4, "cleared")


def without_list():
    """The boot allocator goes on where exercise 0.4 is not done."""
    host = Stopped(mem=64, variant="lab0")
    try:
        before = host.call("frames_free")
        taken = [host.call("frame_alloc", HOST, 0) for _ in range(40)]
        ok(len(set(taken)) == 40 and NONE not in taken and host.call("frames_free") == before - 40,
           "skeleton: frames come from the boot allocator, each one once")
        ok(all(record(host, mfn) == (1, 0, HOST) for mfn in taken), "skeleton: they have records")
        host.call("frame_put", taken[0])
        host.call("frame_put", taken[1])
        guests = host.call("frame_alloc", GUEST, 7)
        host.call("frame_put", guests)
        ok(record(host, guests) == (0, 0, RESERVED), "skeleton: nor is it its owner's any more", got=record(host, guests))
        again = host.call("frame_alloc", HOST, 0)
        ok(again not in taken, "skeleton: one that was given back does not come again")
        host.live.pump()
        text = host.live.console().decode("latin-1")
        ok(text.count("can't be given back") == 1, "skeleton: and that is said, once", text=text)
    finally:
        host.end()


def main():
    """The solution, then the skeleton."""
    need_qemu()
    host = Stopped(mem=64)
    try:
        frames(host)
        roots(host)
        fpu(host)
        debug_registers(host)
    finally:
        host.end()
    without_list()
    finish()


if __name__ == "__main__":
    main()
