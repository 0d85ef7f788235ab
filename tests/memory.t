#!/usr/bin/env python3
"""The host's page tables, descriptor tables and control registers, read from outside the host.

The kernel is stopped when it has come up. Nothing that it says is believed: page tables are walked
in physical memory, and the descriptor tables are read where the CPU's own registers point.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import finish, ok  # noqa: E402
from stopped import DIRECT, KB, Stopped, need_qemu  # noqa: E402

MIB = 1 << 20
MEMORY = 64 * MIB
SLOT = {n: 0xFFFF << 48 | n << 39 for n in range(256, 512)}
GDT_WINDOW, LDT_WINDOW, GDT_LIMIT = SLOT[260], SLOT[260] + 0x10000, 0xE05F
M2P, STACK_AREA = KB + 0x5000000000, KB + 0x6000000000
CODE64, TSS, LDT = 0xE008, 0xE040, 0xE050
NMI, DB, DF, MC = 2, 1, 8, 18


class Tables:
    """All mappings of one root, and questions about them."""

    def __init__(self, host, root):
        self.pages = list(host.pages(root))
        self.starts = {page.va: page for page in self.pages}

    def find(self, va):
        """The page that holds va, or None."""
        for size in (0x1000, 0x200000, 0x40000000):
            page = self.starts.get(va & ~(size - 1))
            if page and page.size >= size and va < page.va + page.size:
                return page
        return None

    def between(self, start, end):
        """The pages of a range of addresses."""
        return [page for page in self.pages if start <= page.va < end]

    def aliases(self, start, end):
        """The pages that show any of this physical memory."""
        return [page for page in self.pages if page.pa < end and start < page.pa + page.size]


def none(pages, what):
    """No page may be like this."""
    pages = list(pages)
    ok(not pages, what, found="\n".join(map(repr, pages[:8])))


def rights(tables, host):
    """W^X, under every name that memory has."""
    at = {name: host.at(name) for name in ("__text_start", "__text_end", "__rodata_start",
                                           "__rodata_end", "__data_start", "__kernel_end",
                                           "__image_start", "boot_stack_guard")}
    text = set(range(at["__text_start"], at["__text_end"], 0x1000))
    ok(len(tables.pages) > 50, "the tables map something", count=len(tables.pages))
    none((p for p in tables.pages if p.writable and p.executable),
         "no page is both writable and executable")
    executable = {p.va for p in tables.pages if p.executable}
    ok(executable == text and all(tables.find(va).size == 0x1000 for va in text),
       "the image's text is executable, in 4 KiB pages, and nothing else is",
       more=[hex(va) for va in executable - text], less=[hex(va) for va in text - executable])
    none((p for p in tables.aliases(at["__text_start"] - KB, at["__text_end"] - KB) if p.writable),
         "text is writable through no address")
    none((p for p in tables.aliases(at["__rodata_start"] - KB, at["__rodata_end"] - KB)
          if p.writable), "read-only data is writable through no address")
    none((p for p in tables.pages if p.user), "no page is a user's")
    data = [va for va in range(at["__data_start"], at["__kernel_end"], 0x1000)
            if va != at["boot_stack_guard"]]
    ok(all(tables.find(va) and tables.find(va).writable and tables.find(va).pa == va - KB
           for va in data), "data and bss are writable, at KB + physical")
    ok(all(tables.find(va) and not tables.find(va).writable and tables.find(va).pa == va - KB
           for va in range(at["__rodata_start"], at["__rodata_end"], 0x1000)),
       "read-only data can be read")


def where(tables, host):
    """Which slots are used, and what for."""
    used = {page.va >> 39 & 511 for page in tables.pages}
    ok(used == {260, 261, 262}, "slots 260, 261 and 262 are used; slot 0 is empty, and 256, where PV guests read M2P",
       used=sorted(used))
    guard = host.at("boot_stack_guard")
    ok(not tables.find(guard) and tables.find(guard + 0x1000), "the boot stack has a guard page")
    direct = tables.between(DIRECT, SLOT[263])
    none((p for p in direct if p.pa != p.va - DIRECT), "the direct map is direct")
    ram_end = MEMORY - 0x20000  # QEMU's BIOS keeps the last 128 KiB for ACPI
    missing = [pa for pa in range(0, ram_end, 0x1000) if not tables.find(DIRECT + pa)]
    ok(not missing, "the direct map has all RAM", missing=[hex(pa) for pa in missing[:8]])
    none((p for p in direct if p.pa >= ram_end), "the direct map has nothing but RAM")
    ok(sum(p.size == 0x200000 for p in direct) >= ram_end // 0x200000 - 3,
       "the direct map's pages are big, but around the image and at the end")
    m2p = tables.between(M2P, STACK_AREA)
    ok(m2p and m2p[0].va == M2P and sum(p.size for p in m2p) >= ram_end // 0x1000 * 8,
       "the machine-to-phys table has a word for each frame")
    ok(set(host.words(M2P, 512)) == {(1 << 64) - 1}, "and says of none that it is a guest's")


def windows(tables, host):
    """Slot 260 as it is while no guest runs."""
    zeros = {tables.find(GDT_WINDOW + n * 0x1000).pa for n in range(14)}
    zeros |= {tables.find(LDT_WINDOW + n * 0x1000).pa for n in range(16)}
    ok(len(zeros) == 1, "the guest's pages of the GDT and LDT windows are one frame")
    ok(not any(host.words(zeros.pop(), 512, physical=True)), "and it is full of zeros")
    none((p for p in tables.between(SLOT[260], SLOT[261])
          if p.writable and p.va != GDT_WINDOW + 0xE000),
         "only the host's GDT page is writable there")
    ok(tables.find(GDT_WINDOW + 0xE000).writable, "the host's GDT page is writable")
    ok(not tables.find(GDT_WINDOW + 0xF000), "page 15 of the GDT window is absent")
    ok(not tables.find(LDT_WINDOW + 0x10000), "nothing lies behind the LDT window")


def descriptors(host, cpu):
    """The GDT, entry by entry."""
    ok((cpu["gdt_base"], cpu["gdt_limit"]) == (GDT_WINDOW, GDT_LIMIT), "GDTR: window and limit",
       got=f"{cpu['gdt_base']:#x} {cpu['gdt_limit']:#x}")
    page = host.words(GDT_WINDOW + 0xE000, 512)
    known = {CODE64: 0x00209B0000000000, 0xE010: 0x00CF93000000FFFF}
    base = cpu["tr_base"]
    known[TSS] = (0x67 | (base & 0xFFFFFF) << 16 | 0x8B << 40 | (base >> 24 & 0xFF) << 56)
    known[TSS + 8] = base >> 32
    wrong = [f"{0xE000 + 8 * i:#x}: {entry:016x}" for i, entry in enumerate(page)
             if entry != known.get(0xE000 + 8 * i, 0)]
    ok(not wrong, "host code, data and busy TSS; all other entries, ring 3's and the LDT's, are 0",
       wrong="\n".join(wrong))
    ok((cpu["cs"], cpu["tr"], cpu["ldt"]) == (CODE64, TSS, 0), "CS, TR and a null LDTR")
    ok(all(cpu[name] == 0 for name in ("ds", "es", "fs", "gs", "ss")), "null data segments")


def stacks(tables, host, cpu):
    """The TSS: five stacks, each with nothing below and nothing above."""
    base = cpu["tr_base"]
    raw = host.gdb.read(base, 104)
    rsp0 = int.from_bytes(raw[4:12], "little")
    ists = [int.from_bytes(raw[36 + 8 * n:44 + 8 * n], "little") for n in range(7)]
    ok(int.from_bytes(raw[102:104], "little") > cpu["tr_limit"], "the TSS has no I/O bitmap")
    ok(ists[4:] == [0, 0, 0], "IST5 to 7 are not used")
    tops = [rsp0] + ists[:4]
    ok(len(set(tops)) == 5 and all(STACK_AREA < top < KB + (1 << 39) and not top & 15
                                   for top in tops),
       "RSP0 and IST1 to 4 are five aligned stacks", tops=[hex(top) for top in tops])
    for name, top in zip(("RSP0", "NMI", "#DB", "#DF", "#MC"), tops):
        mapped = [tables.find(top - n * 0x1000) for n in range(1, 6)]
        ok(all(page and page.writable for page in mapped[:4]) and mapped[4] is None
           and (tables.find(top) is None), f"the stack of {name}: 16 KiB and a guard page")
    return tops


def gates(host, cpu):
    """The IDT, gate by gate."""
    ok(cpu["idt_limit"] == 4095, "the IDT has 256 gates")
    words = host.words(cpu["idt_base"], 512)
    ist = {NMI: 1, DB: 2, DF: 3, MC: 4}
    text = range(host.at("__text_start"), host.at("__text_end"))
    wrong, stubs = [], set()
    for vector in range(256):
        low, high = words[2 * vector:2 * vector + 2]
        stub = (low & 0xFFFF) | (low >> 48) << 16 | (high & 0xFFFFFFFF) << 32
        stubs.add(stub)
        kind = (low >> 16 & 0xFFFF, low >> 32 & 7, low >> 40 & 0xFF, stub in text, high >> 32)
        if kind != (CODE64, ist.get(vector, 0), 0xEE if vector in (3, 4) else 0x8E, True, 0):
            wrong.append(f"{vector}: {low:016x} {high:016x}")
    ok(not wrong, "each gate: present interrupt gate, host code, right DPL, right IST",
       wrong="\n".join(wrong))
    ok(len(stubs) == 256, "each vector has a stub of its own")


def control(cpu):
    """CR0, CR4, EFER."""
    ok(cpu["cr0"] == 0x80010033, "CR0: PG WP NE ET MP PE", got=hex(cpu["cr0"]))
    ok(cpu["cr4"] == 0x660, "CR4: OSXMMEXCPT OSFXSR MCE PAE; no SMEP, SMAP, UMIP, OSXSAVE, PGE",
       got=hex(cpu["cr4"]))
    ok(cpu["efer"] == 0xD00, "EFER: NXE LMA LME; no SCE", got=hex(cpu["efer"]))
    ok(cpu["dr7"] & 0xFF == 0, "no breakpoint is set")


def main():
    """One machine, all questions."""
    need_qemu()
    host = Stopped(mem=MEMORY // MIB)
    try:
        cpu = host.cpu()
        tables = Tables(host, cpu["cr3"])
        rights(tables, host)
        where(tables, host)
        windows(tables, host)
        descriptors(host, cpu)
        stacks(tables, host, cpu)
        gates(host, cpu)
        control(cpu)
    finally:
        host.end()
    finish()


if __name__ == "__main__":
    main()
