"""Page tables from outside: a walker of our own, tables made for one run, and the tables that the CPU uses.

`Host` stands at a breakpoint in the kernel under test: it reads the machine's memory through the direct map, finds
guest frames through the p2m, and calls functions of the kernel. The walker (`walk()`) is written from the manual's
tables and shares nothing with the kernel's.

SDM = Intel SDM order no. 325462-080, June 2023.
"""

import struct
from dataclasses import dataclass, field

from . import evidence

P, W, U, A, D, PS, NX = 1, 2, 4, 0x20, 0x40, 0x80, 1 << 63
RSVD = 8
HOW_WRITE, HOW_USER, HOW_FETCH = 1, 2, 4
DIRECT = 0xFFFF830000000000
PAGE = 4096
FORMS = ("32-bit", "32-bit with 4 MiB pages", "PAE", "4-level")
LEVELS = {"32-bit": 2, "32-bit with 4 MiB pages": 2, "PAE": 3, "4-level": 4}
SHIFTS = {4: (12, 22), 8: (12, 21, 30, 39)}
SHADOW_DIRECT = 4
ANSWER = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
          "r13", "r14", "r15", "rip", "eflags")


def entry_size(form):
    """Bytes of an entry."""
    return 4 if form.startswith("32") else 8


def span(form, level):
    """The lowest bit of the index at this level (SDM 3A table 4-2)."""
    return SHIFTS[entry_size(form)][level - 1]


def index(form, level, va):
    """The entry's index."""
    bits = 10 if entry_size(form) == 4 else 2 if form == "PAE" and level == 3 else 9
    return va >> span(form, level) & (1 << bits) - 1


def maps(form, level, entry):
    """True if the entry maps a page."""
    large = {"32-bit": (), "32-bit with 4 MiB pages": (2,), "PAE": (2,), "4-level": (2, 3)}[form]
    return level == 1 or (level in large and bool(entry & PS))


def mask(low, high):
    """Bits low to high."""
    return (1 << high + 1) - (1 << low) if high >= low else 0


def reserved(form, level, entry, width, nx):
    """The bits of a present entry that must be 0 (SDM 3A 4.3, 4.4.2, 4.5.4)."""
    page = level > 1 and maps(form, level, entry)
    if entry_size(form) == 4:
        return mask(13 + min(width, 40) - 32, 21) if page else 0
    bits = mask(width, 62 if form == "PAE" else 51) | (0 if nx else NX)
    if page:
        bits |= mask(13, span(form, level) - 1)
    return bits | (PS if level == 4 else 0)


def target(form, level, entry):
    """Where the entry leads."""
    page = level > 1 and maps(form, level, entry)
    if entry_size(form) == 4:
        if page:
            return entry & 0xFFC00000 | (entry >> 13 & 0xFF) << 32
        return entry & 0xFFFFF000
    return entry & mask(span(form, level) if page else 12, 51)


@dataclass
class Answer:
    """What a walk gives: `state` is 0 or -EFAULT; error None means that it leads to gpa."""

    state: int
    last: int
    rights: int = 0
    gpa: int = 0
    error: int | None = None


@dataclass
class Case:
    """One walk."""

    form: str
    va: int
    how: int = 0
    wp: bool = False
    nx: bool = False
    width: int = 40
    root: int = 0
    pdpte: list = field(default_factory=lambda: [0, 0, 0, 0])

    def words(self):
        """What kind of access it is."""
        kinds = [word for bit, word in ((HOW_WRITE, "write"), (HOW_USER, "user"), (HOW_FETCH, "fetch"))
                 if self.how & bit]
        return f" ({', '.join(kinds) or 'supervisor read'}; CR0.WP={int(self.wp)}, " \
               f"NXE={int(self.nx)}, MAXPHYADDR={self.width})"


def walk(case, read):
    """SDM 3A 4.3 to 4.7, over read(gpa, size)."""
    form, table, rights = case.form, case.root, U | W
    size = entry_size(form)
    code = (2 if case.how & HOW_WRITE else 0) | (4 if case.how & HOW_USER else 0)
    code |= 16 if case.how & HOW_FETCH and case.nx else 0
    for level in range(LEVELS[form], 0, -1):
        number = index(form, level, case.va)
        if form == "PAE" and level == 3:
            entry = case.pdpte[number]
        else:
            entry = read(table + number * size, size)
            rights = rights & (entry | NX) | entry & NX
        if not entry & P:
            return Answer(-14, level, error=code)
        registers = form == "PAE" and level == 3
        if not registers and entry & reserved(form, level, entry, case.width, case.nx):
            return Answer(-14, level, error=code | P | RSVD)
        table = target(form, level, entry)
        if maps(form, level, entry):
            break
    if not allowed(rights, case.how, case.wp):
        return Answer(-14, level, error=code | P)
    return Answer(0, level, rights, table | case.va & (1 << span(form, level)) - 1)


def allowed(rights, how, wp):
    """SDM 3A 4.6.1, without SMEP and SMAP."""
    if how & HOW_USER and not rights & U:
        return False
    if how & HOW_WRITE and not rights & W and (how & HOW_USER or wp):
        return False
    return not (how & HOW_FETCH and rights & NX)


class Tables:
    """Page tables in guest RAM, in frames of the guest's that it does not use."""

    def __init__(self, rng, host, form, frames):
        self.rng, self.host, self.form = rng, host, form
        self.free, self.used = list(frames[:40]), []
        self.memory = {}
        self.nx = form in ("PAE", "4-level") and rng.random() < 0.5
        self.width = rng.choice((36, 40, 40)) if form != "32-bit with 4 MiB pages" else \
            rng.choice((32, 36, 40))
        self.pdpte = [0] * 4
        self.root = self.frame()

    def frame(self):
        """A frame for a table."""
        self.used.append(self.free.pop())
        return self.used[-1]

    def gone(self):
        """The frames are zero again."""
        for one in self.used:
            self.host.write(one, bytes(PAGE))

    def read(self, at, size):
        """As the guest's hardware: ones where there is no memory."""
        if at + size > self.host.ram or 0xA0000 <= at < 0xB8000 or 0xC0000 <= at < 0x100000:
            return (1 << 8 * size) - 1
        return self.memory.get(at, 0)

    def walk(self, case):
        """The right answer."""
        return walk(case, self.read)

    def put(self, level, table, va, value):
        """An entry."""
        number = index(self.form, level, va)
        if self.form == "PAE" and level == 3:
            self.pdpte[number] = value
            return
        size = entry_size(self.form)
        self.memory[table + number * size] = value
        self.host.write(table + number * size, value.to_bytes(size, "little"))

    def flags(self, level, full):
        """Random rights and marks of an entry; `full` has all rights."""
        if self.form == "PAE" and level == 3:
            return P
        rng = self.rng
        bits = P | rng.choice((0, A, A | D))
        bits |= U | W if full else rng.choice((0, U, W, U | W))
        if self.nx and not full and rng.random() < 0.3:
            bits |= NX
        return bits

    def page(self, level):
        """A random page address that fits an entry at this level."""
        bits = self.rng.getrandbits(self.width) >> span(self.form, level) << span(self.form, level)
        if entry_size(self.form) == 4:
            return bits & 0xFFFFFFFF | (bits >> 32 << 13 if level == 2 else 0)
        return bits

    def address(self):
        """A linear address; in 4-level paging from either half."""
        if self.form != "4-level":
            return self.rng.getrandbits(32)
        low = self.rng.getrandbits(47)
        return low if self.rng.random() < 0.5 else low | 0xFFFF800000000000

    def chain(self, spoil=None):
        """A path from the top to a page, spoilt at a level by `spoil`, (level, how). Its address or None."""
        form, rng = self.form, self.rng
        leaf = rng.choice([level for level in range(1, 4) if maps(form, level, PS)
                           and level <= LEVELS[form]])
        for _ in range(200):
            va, table, full = self.address(), self.root, rng.random() < 0.4
            for level in range(LEVELS[form], 0, -1):
                entry = self.pdpte[index(form, level, va)] if form == "PAE" and level == 3 else \
                    self.memory.get(table + index(form, level, va) * entry_size(form), 0)
                if spoil and level == max(spoil[0], leaf):
                    if entry:
                        break
                    self.put(level, table, va, self.spoilt(spoil[1], level, level == leaf))
                    return va
                if level == leaf:
                    if entry:
                        break
                    large = PS if level > 1 else rng.choice((0, PS if level == 1 else 0))
                    self.put(level, table, va, self.page(level) | large | self.flags(level, full))
                    return va
                if entry and (not entry & P or maps(form, level, entry)
                              or self.odd(level, entry)):
                    break
                if not entry:
                    entry = self.frame() | self.flags(level, full)
                    self.put(level, table, va, entry)
                table = target(form, level, entry)
        return None  # all entries of that level are taken

    def odd(self, level, entry):
        """True for an entry that a walk does not get past, or that leads out of RAM."""
        return entry & reserved(self.form, level, entry, self.width, self.nx) or \
            target(self.form, level, entry) not in self.used

    def spoilt(self, how, level, leaf):
        """An entry at which a walk ends, or behind which there are only ones."""
        form, rng = self.form, self.rng
        page = PS if leaf and level > 1 else 0
        if how == "nowhere" and not leaf and not (form == "PAE" and level == 3):
            return rng.randrange(0x40000, 0xC0000) << 12 | P | W | U
        if how == "reserved" and not (form == "PAE" and level == 3):
            bits = reserved(form, level, page, self.width, self.nx)
            choices = [bit for bit in range(64) if bits >> bit & 1 and 1 << bit != PS]
            if level == 4:
                choices.append(7)
            if choices:
                base = self.page(level) if leaf else self.frame()
                return base | page | P | W | U | 1 << rng.choice(choices)
        junk = rng.getrandbits(32 if entry_size(form) == 4 else 64)
        return junk & ~P or 2

    def case(self, va, how, wp):
        """A walk of these tables."""
        return Case(self.form, va, how, wp, self.nx, self.width, self.root, list(self.pdpte))

    def good(self, count):
        """Walks that lead somewhere, with accesses that every rule allows."""
        spots = [self.chain() for _ in range(count)]
        for va in [va for va in spots if va is not None]:
            while True:
                case = self.case(va, self.rng.randrange(8), self.rng.random() < 0.5)
                if not (case.how & HOW_WRITE and case.how & HOW_FETCH) \
                        and self.walk(case).error is None:
                    break
            yield case

    def bad(self, count):
        """Walks that end in a fault of the tables', not of the rights'."""
        spots = []
        for _ in range(count):
            kind = self.rng.choice(("absent", "reserved", "reserved", "nowhere"))
            spots.append(self.chain((self.rng.randrange(1, LEVELS[self.form] + 1), kind)))
        for va in spots:
            if va is None:
                continue
            case = self.case(va, self.rng.choice((0, 1, 2, 3, 4, 6)), self.rng.random() < 0.5)
            right = self.walk(case)
            if right.error is None or right.error & P and not right.error & RSVD:
                continue
            yield case


# -- fills -----------------------------------------------------------------------------------------


@dataclass
class Fill:
    """A walk that is made up: the guest's entries by level, where they lead, and the root."""

    form: str
    va: int
    root: int
    entries: dict
    last: int
    gpa: int

    def told(self):
        """In words."""
        entries = ", ".join(f"level {level}: {entry:#x}" for level, entry in
                            sorted(self.entries.items(), reverse=True))
        return f"{self.va:#x} in {self.form} paging ({entries}; it leads to {self.gpa:#x})"

    def writable(self):
        """True if every entry grants W."""
        return all(entry & W for level, entry in self.entries.items()
                   if not (self.form == "PAE" and level == 3))

    def rights(self, level, dirty):
        """What the shadow's entry at this level must allow, trace aside; `dirty`: walk_dirty() says so."""
        if level == self.last and not dirty:
            return self.entries[level] & U
        if level > LEVELS[self.form] or (self.form == "PAE" and level == 3) or level < self.last:
            return U | W
        return self.entries[level] & (U | W)


def fills(rng, form, frames, count):
    """Walks over few tables, so that they are shared; the first page is the table that maps it."""
    tables, pages, root = frames[:3], frames[8:20], frames[30]
    for number in range(count):
        va = rng.randrange(0x400000, 0xFF000000)
        large = maps(form, 2, PS) and rng.random() < 0.4
        flags = [P | A | rng.choice((0, U, W, U | W)) for _ in range(2)]
        flags = [one | D if one & W and rng.random() < 0.7 else one for one in flags]
        entries = {3: frames[31] | P} if form == "PAE" else {}
        gpa = rng.choice(tables if number % 3 == 2 else pages) | va & 0xFFF
        if not number:
            # No shadow of the table is there yet: that its frame is tracked comes of this very fill.
            table = rng.choice(tables)
            entries |= {2: table | P | A | W | U, 1: table | P | A | D | W | U}
            yield Fill(form, va, root, entries, 1, table | va & 0xFFF)
            continue
        if large:
            base = gpa >> span(form, 2) << span(form, 2)
            va = va >> span(form, 2) << span(form, 2) | gpa - base
            entries[2] = base | PS | flags[0]
            yield Fill(form, va, root, entries, 2, gpa)
        else:
            entries |= {2: rng.choice(tables) | flags[0], 1: gpa & ~0xFFF | flags[1]}
            yield Fill(form, va, root, entries, 1, gpa)


def flooded(rng, form, frames):
    """A walk through a table; and one through a large page that begins with that table, or None."""
    table, root, page = (0x400000, *frames[:2])
    upper = {3: frames[2] | P} if form == "PAE" else {}
    va = rng.randrange(0x4000, 0xB000) << 16 | rng.randrange(1, 15) << 12
    flags = P | A | D | W
    other = None
    if maps(form, 2, PS):
        where = (va ^ 0x10000000) >> 22 << 22 | 0x3000
        other = Fill(form, where, root, upper | {2: table | PS | flags}, 2, table | 0x3000)
    return Fill(form, va, root, upper | {2: table | flags, 1: page | flags}, 1, page), other


def kinds(rng, form):
    """[(linear address, level of our entry, level at which the guest's walk ends)]."""
    found = [(rng.getrandbits(32), level, last) for level in (3, 2) for last in (1, 2)
             for _ in range(4) if last == 1 or maps(form, 2, PS)]
    rng.shuffle(found)
    return found


def kind(form, va, level, last):
    """(paging format, level, quadrant) of the shadow that our entry leads to."""
    if level <= last:
        return SHADOW_DIRECT, level - 1, 0
    quadrant = 0
    if level == 3:
        quadrant = va >> 30
    elif entry_size(form) == 4:
        quadrant = va >> 21 & 1
    return FORMS.index(form), level - 1, quadrant


def kind_told(one):
    """In words."""
    name = (*FORMS, "direct")[one[0]] if one[0] <= SHADOW_DIRECT else f"paging format {one[0]}"
    return f"{name}, level {one[1]}, quadrant {one[2]}"


# -- the machine -----------------------------------------------------------------------------------


class Host:
    """The kernel at a breakpoint: its memory, its guest, its functions."""

    HEADER = "vmm/mmu/shadow/shadow.h"

    def __init__(self, t, client, regs, vcpu=None):
        self.t, self.client, self.regs = t, client, regs
        self.leafs, self.frames = {}, {}
        self.vcpu = vcpu
        if vcpu is None:
            self.m = regs["rdi"]
            self.domain = self.word(self.m + self.at("struct shadow_mmu", "domain"))
        else:
            self.domain = self.word(vcpu + self.at("struct vcpu", "domain"))
            self.m = self.word(self.domain + self.at("struct domain", "mmu_data"))
        self.ram = self.word(self.domain + self.at("struct domain", "ram"))
        self.root = self.word(self.domain + self.at("struct domain", "root")) << 12
        self.saved = self.scratch = None

    def at(self, name, member):
        """The offset of a member."""
        return evidence.offset_of(self.t.image.root, self.HEADER, name, member)

    def word(self, address):
        """Eight bytes of the kernel's."""
        return struct.unpack("<Q", self.client.read(address, 8))[0]

    # Guest memory.

    def p2m(self, gfn):
        """(mfn, type, trace) of a guest frame; None beyond the table."""
        part = gfn // 512
        if part not in self.leafs:
            table = self.word(self.domain + self.at("struct domain", "p2m"))
            leaf = self.word(table + 8 * part) if part < 512 else 0
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
        return self.word(base + evidence.offset_of(self.t.image.root, "vmm/x86/state.h",
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
