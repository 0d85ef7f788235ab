"""The kernel under test at a breakpoint: its page tables and its guest's, from outside.

`Host` reads the machine's memory through the direct map, finds guest frames through the p2m, and calls functions of
the kernel.

SDM = Intel SDM order no. 325462-080, June 2023.
"""

import struct

from . import headers
from .pagewalk import ANSWER, Answer, Case, DIRECT, FORMS, NX, P, PAGE, PS, U, W, entry_size, mask, walk

TABLE_TRACKED, = headers.numbers(("vmm/mem/page_track.h",), ["1 << TRACK_PAGE_TABLE"])


class Host:
    """The kernel at a breakpoint: its memory, its guest, its functions."""

    HEADER = "vmm/mmu/shadow/shadow.h"

    def __init__(self, t, client, regs, vcpu=None):
        self.t, self.client, self.regs = t, client, regs
        self.leafs, self.frames = {}, {}
        if vcpu is None:
            self.m = regs["rdi"]
            self.vcpu = self.word(self.m + self.at("struct shadow_mmu", "vcpu"))
        else:
            self.vcpu = vcpu
            self.m = self.word(vcpu + self.at("struct vcpu", "mmu_data"))
        self.domain = self.word(self.vcpu + self.at("struct vcpu", "domain"))
        self.ram = self.word(self.domain + self.at("struct domain", "ram"))
        self.root = self.word(self.vcpu + self.at("struct vcpu", "root")) << 12
        self.saved = self.scratch = None

    def at(self, name, member):
        """The offset of a member."""
        return headers.offset_of(self.t.image.root, self.HEADER, name, member)

    def word(self, address):
        """Eight bytes of the kernel's."""
        return struct.unpack("<Q", self.client.read(address, 8))[0]

    # Guest memory.

    def p2m(self, gfn):
        """(mfn, type, trace) of a guest frame; None beyond the table."""
        part = gfn // 512
        if part not in self.leafs:
            leaf = self.word(self.domain + self.at("struct domain", "p2m")) if part < 512 * 512 else 0
            for index in (part // 512, part % 512):  # three levels; the last is the leaf
                leaf = self.word(leaf + 8 * index) if leaf else 0
            self.leafs[part] = self.client.read(leaf, PAGE) if leaf else None
        if self.leafs[part] is None:
            return None
        return struct.unpack_from("<IBB", self.leafs[part], gfn % 512 * 8)

    def mfn_of(self, gpa):
        """The machine frame of guest RAM, or None."""
        entry = self.p2m(gpa >> 12)
        return entry[0] if entry and entry[1] == 1 else None

    def tracked(self, gpa):
        """Why the frame is write-protected, as bits."""
        self.leafs.clear()
        return self.p2m(gpa >> 12)[2]

    def tracked_as_table(self, gpa):
        """Whether it is for the sake of page tables: the guest's GDT may lie in the same frame."""
        return bool(self.tracked(gpa) & TABLE_TRACKED)

    def write(self, gpa, data):
        """Into guest RAM, in one frame."""
        self.client.write(DIRECT + (self.mfn_of(gpa) << 12) + gpa % PAGE, data)

    def guest_entry(self, at, size):
        """An entry of the guest's tables; whole frames are read once."""
        gfn = at >> 12
        if gfn not in self.frames:
            mfn = self.mfn_of(at)
            self.frames[gfn] = None if mfn is None else self.client.read(DIRECT + (mfn << 12), PAGE)
        if self.frames[gfn] is None:
            return (1 << 8 * size) - 1
        return int.from_bytes(self.frames[gfn][at % PAGE:at % PAGE + size], "little")

    # The kernel's functions.

    def room(self, offset):
        """An address in a guest frame that nobody needs: room for structures."""
        if self.scratch is None:
            self.scratch = DIRECT + (self.mfn_of(self.ram - 2 * PAGE) << 12)
        return self.scratch + offset

    def call(self, name, *args):
        """RAX after a call."""
        start = self.regs["rip"]
        stack = (self.regs["rsp"] - 0x400) & ~15
        self.client.write(stack - 8, struct.pack("<Q", start))
        for register, value in zip(("rdi", "rsi", "rdx", "rcx", "r8", "r9"), args):
            self.client.set_reg(register, value & (1 << 64) - 1)
        self.client.set_reg("rsp", stack - 8)
        self.client.set_reg("rip", self.t.symbol(name))
        self.client.cont()
        back = self.client.regs()
        if back["rip"] != start:
            self.t.fail(f"{name}() does not come back", "it returns", f"at {back['rip']:#x}")
        return back["rax"]

    def restore(self):
        """The registers that the kernel had, and its own paging parameters."""
        if self.saved is not None:
            self.forget()
            self.client.write(self.saved[0], self.saved[1])
        for name in ANSWER:
            self.client.set_reg(name, self.regs[name])

    def paging(self, where, case):
        """A struct paging for this case."""
        width = self.at("struct { struct paging_format a; struct paging_format b; }", "b")
        number = FORMS.index(case.form)

        def put(name, data):
            self.client.write(where + self.at("struct paging", name), data)

        put("format", struct.pack("<Q", self.t.symbol("paging_formats") + number * width))
        put("root", struct.pack("<Q", case.root))
        put("pdpte", struct.pack("<4Q", *case.pdpte))
        put("address_bits", struct.pack("<I", case.width))
        put("wp", bytes([case.wp]))
        put("nx", bytes([case.nx]))

    def walk(self, case):
        """guest_walk()."""
        paging, memory, result = self.room(0), self.room(0x100), self.room(0x200)
        self.paging(paging, case)
        self.client.write(result, bytes(0x100))
        self.call("guest_memory", memory, self.m)
        state = self.call("guest_walk", paging, case.va, case.how, memory, result)
        return self.answer(signed(state), result)

    def answer(self, state, result):
        """A struct walk as an Answer."""
        raw = self.client.read(result, 0x100)
        number = {name: self.at("struct walk", name) for name in ("last", "rights", "gpa", "error")}
        last, error = (struct.unpack_from("<I", raw, number[name])[0] for name in ("last", "error"))
        rights, gpa = (struct.unpack_from("<Q", raw, number[name])[0] for name in ("rights", "gpa"))
        return Answer(state, last, rights & (U | W | NX), gpa, error if state else None)

    def pdptes(self, root, entries, before):
        """paging_load_pdptes(): (state, what is in pdpte[] after it)."""
        for i, entry in enumerate(entries):
            self.write(root + 8 * i, struct.pack("<Q", entry))
        paging, memory, result = self.room(0), self.room(0x100), self.room(0x200)
        self.paging(paging, Case("PAE", 0, root=root))
        self.client.write(result, struct.pack("<4Q", *before))
        self.call("guest_memory", memory, self.m)
        state = signed(self.call("paging_load_pdptes", paging, memory, result))
        self.write(root, bytes(32))
        return state, list(struct.unpack("<4Q", self.client.read(result, 32)))

    def made_up(self, case):
        """A struct walk that says what the case says."""
        result = self.room(0x200)
        self.client.write(result, bytes(0x100))
        step = self.at("struct walk", "step")
        rights = U | W
        for level, entry in case.entries.items():
            self.client.write(result + step + 16 * level + 8, struct.pack("<Q", entry))
            rights &= entry if not (case.form == "PAE" and level == 3) else rights
        for name, value, size in (("last", case.last, 4), ("rights", rights, 8), ("gpa", case.gpa, 8)):
            self.client.write(result + self.at("struct walk", name), value.to_bytes(size, "little"))
        return result

    def adopt(self, case):
        """m->paging for this case; restore() takes it back."""
        where = self.m + self.at("struct shadow_mmu", "paging")
        if self.saved is None:
            self.saved = where, self.client.read(where, self.at("struct { struct paging a; char b; }",
                                                                 "b"))
        pdpte = [0] * 4
        pdpte[case.va >> 30 & 3] = case.entries.get(3, 0)
        self.paging(where, Case(case.form, case.va, wp=True, root=case.root, pdpte=pdpte))

    def fill(self, case):
        """shadow_fill()."""
        self.adopt(case)
        self.call("shadow_room", self.m, 4)
        return signed(self.call("shadow_fill", self.m, case.va, self.made_up(case)))

    def dirty(self, case):
        """walk_dirty(), which is exercise 2.5's."""
        return bool(self.call("walk_dirty", self.made_up(case)) & 0xFF)

    def mark(self, case, how):
        """walk_mark(): {level: (what was in memory where the entry lies, what is there then)}.

        It is another word than the entry in the walk, so that each write shows.
        """
        paging, memory, result = self.room(0), self.room(0x100), self.made_up(case)
        self.paging(paging, Case(case.form, case.va, how, root=case.root))
        self.call("guest_memory", memory, self.m)
        size, step = entry_size(case.form), self.at("struct walk", "step")
        places = {}
        for level, entry in case.entries.items():
            places[level] = DIRECT + (self.mfn_of(case.places[level]) << 12) + case.places[level] % PAGE
            self.client.write(result + step + 16 * level, struct.pack("<Q", case.places[level]))
            self.client.write(places[level], (entry ^ 0xE00).to_bytes(size, "little"))
        self.call("walk_mark", paging, how, memory, result)
        return {level: (case.entries[level] ^ 0xE00, int.from_bytes(self.client.read(where, size), "little"))
                for level, where in places.items()}

    def written(self, gpa, size):
        """shadow_table_written()."""
        self.call("shadow_table_written", self.m, gpa, size)

    def count(self, name):
        """One of the domain's shadow_stats."""
        return self.word(self.m + self.at("struct shadow_mmu", "stats")
                         + self.at("struct shadow_stats", name))

    def forget(self):
        """No shadow is left."""
        self.call("shadow_free_all", self.m)

    def kind(self, form, va, level, last):
        """shadow_child_kind()."""
        paging, result = self.room(0), self.room(0x200)
        self.paging(paging, Case(form, va))
        self.client.write(result, bytes(0x100))
        self.client.write(result + self.at("struct walk", "last"), struct.pack("<I", last))
        return tuple(struct.pack("<Q", self.call("shadow_child_kind", paging, level, va, result))[:3])

    # The tables that the CPU uses.

    def table(self, pa):
        """The 512 entries of a table."""
        return struct.unpack("<512Q", self.client.read(DIRECT + pa, PAGE))

    def hardware(self, va):
        """The entries from the root to the page, as far as they are present."""
        pa, path = self.root, []
        for shift in (39, 30, 21, 12):
            entry = self.word(DIRECT + pa + 8 * (va >> shift & 511))
            path.append(entry)
            if not entry & P:
                break
            pa = entry & mask(12, 51)
        return path

    def leaves(self):
        """{linear address: (entry, rights of all levels together)} of the guest's part, window included."""
        top = self.table(self.root)[0]
        found, tables = {}, {}

        def entries(pa):
            if pa not in tables:
                tables[pa] = self.table(pa)
            return tables[pa]

        def descend(pa, level, base, rights):
            for i, entry in enumerate(entries(pa)):
                if not entry & P or (level == 3 and i > 3):
                    continue
                va, both = base + (i << 12 + 9 * (level - 1)), rights & entry
                if level == 1 or entry & PS:
                    found[va] = (entry, both)
                else:
                    descend(entry & mask(12, 51), level - 1, va, both)

        if top & P:
            descend(top & mask(12, 51), 3, 0, top)
        return found

    def state(self, name, member=None):
        """A register of the virtual CPU's."""
        base = self.vcpu + self.at("struct vcpu", "state")
        return self.word(base + headers.offset_of(self.t.image.root, "vmm/x86/state.h",
                                                   "struct cpu_state", member or name))

    def guest_case(self, va, how=0):
        """A walk of the guest's own tables, as its registers are now."""
        cr4, cr3 = self.state("cr4"), self.state("cr3")
        form = FORMS[2] if cr4 & 0x20 else FORMS[1] if cr4 & 0x10 else FORMS[0]
        pdpte = [0] * 4
        if form == "PAE":
            pdpte = [self.state("pdpte", f"pdpte[{i}]") for i in range(4)]
        return Case(form, va, how, bool(self.state("cr0") >> 16 & 1), False, 40,
                    cr3 & (0xFFFFFFE0 if form == "PAE" else 0xFFFFF000), pdpte)

    def guest_path(self, case):
        """(answer, addresses of the entries that the walk met, the entries)."""
        seen = []

        def read(at, size):
            seen.append((at, self.guest_entry(at, size)))
            return seen[-1][1]

        return walk(case, read), seen


def signed(value):
    """RAX as an int."""
    return (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)


def audit(t, host, leaves):
    """Every mapping that the CPU has for the guest against the guest's own tables."""
    window = host.word(host.domain + host.at("struct domain", "window"))
    owner = {}
    for gfn in range(host.ram >> 12):
        mfn = host.mfn_of(gfn << 12)
        if mfn is not None:
            owner[mfn] = gfn
    tables = set()
    walks = {}
    for va in leaves:
        if not window <= va < window + (4 << 20):
            walks[va] = host.guest_path(host.guest_case(va))
            tables |= {at >> 12 for at, _ in walks[va][1]}
    for va, (entry, rights) in leaves.items():
        if va in walks:
            judge_leaf(t, va, entry, rights, walks[va], owner, tables)
        else:
            t.check(not rights & U, f"the VMM window, at {va:#x}, can be reached by the guest's ring 3",
                    "U=0 at one level at least", f"{entry:#x}")
    return walks


def judge_leaf(t, va, entry, rights, found, owner, tables):
    """One page."""
    answer, path = found
    gfn = owner.get(entry >> 12 & (1 << 40) - 1)
    entries = ", ".join(f"{one:#x}" for _, one in path)
    t.check(gfn is not None, f"the CPU's tables map a machine frame at {va:#x} that is not the guest's",
            "guest RAM", f"entry {entry:#x}")
    t.check(answer.error is None, f"the CPU's tables map {va:#x}, and the guest's own do not: a shadow "
            "is left over", f"nothing at {va:#x} (its entries: {entries})", f"guest frame {gfn:#x}")
    t.check(answer.gpa >> 12 == gfn, f"the CPU's tables map {va:#x} to another guest frame than the "
            "guest's own: a shadow is left over", f"{answer.gpa >> 12:#x} (its entries: {entries})",
            f"{gfn:#x}")
    more = rights & (U | W) & ~answer.rights
    t.check(not more, f"the CPU's tables allow more at {va:#x} than the guest's own (bits U=4, W=2)",
            f"{answer.rights & (U | W):#x} (its entries: {entries})", f"{rights & (U | W):#x}")
    t.check(not (rights & W and gfn in tables), f"the guest can write to its page table in frame {gfn:#x} "
            f"at {va:#x}, and nobody would be told", "W=0 in every mapping of a frame that has a shadow",
            f"entry {entry:#x}")
