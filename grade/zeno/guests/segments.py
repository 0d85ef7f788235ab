"""Fresh guest programs that play with descriptors: tables of their own, evil ones, forbidden control registers."""

from .programs import Program


class Tables:
    """A GDT that the guest builds at run time, entry by entry, at a place of its own choice."""

    def __init__(self, p):
        rng = p.rng
        self.p = p
        self.entries = rng.randrange(16, 60)
        self.base = p.base + 0x20000 + rng.randrange(0, 0x2000, 8)
        self.free = list(range(1, self.entries))
        rng.shuffle(self.free)
        self.pointer = self.base - 16

    def put(self, descriptor, index=None):
        """Write an 8-byte descriptor into an entry; its selector (RPL 0)."""
        index = self.free.pop() if index is None else index
        at = self.base + 8 * index
        order = [(at, descriptor & 0xffffffff), (at + 4, descriptor >> 32)]
        for where, word in order if self.p.rng.random() < 0.5 else reversed(order):
            self.p.op(f"mov dword [{where:#x}], {word:#x}")
        return index * 8

    def load(self):
        """LGDT."""
        limit = self.entries * 8 - 1
        self.p.op(f"mov word [{self.pointer:#x}], {limit:#x}",
                  f"mov dword [{self.pointer + 2:#x}], {self.base:#x}",
                  f"lgdt [{self.pointer:#x}]")
        return limit

    def enter(self, code, data):
        """Reload CS by a far jump, and all data segments."""
        there = f"there{len(self.p.lines)}"
        self.p.op(f"jmp {code:#x}:{there}")
        self.p.label(there)
        self.p.op(f"mov eax, {data:#x}")
        order = ["ds", "es", "fs", "gs", "ss"]
        self.p.rng.shuffle(order)
        self.p.op(*(f"mov {segment}, ax" for segment in order))


def descriptor(base, limit, access, flags=0x4):
    """A segment descriptor; `flags` are G, D/B, L, AVL from bit 3 down."""
    return (limit & 0xffff | (base & 0xffffff) << 16 | access << 40 | (limit >> 16 & 15) << 48
            | flags << 52 | (base >> 24) << 56)


FLAT_CODE = descriptor(0, 0xfffff, 0x9a, 0xc)
FLAT_DATA = descriptor(0, 0xfffff, 0x92, 0xc)
PLAY = 0x40000
"""Where, from the program's base, segments with bases of their own begin."""


def own_tables(rng, count=10):
    """A GDT of the guest's own: bases, limits, edits in place, reloads. Prints what it reads."""
    p = Program(rng)
    tables = Tables(p)
    if rng.random() < 0.5:
        p.op("cli")
    # Accessed or not when loaded: the CPU would set the bit, and the shadow has it set.
    code, data = tables.put(FLAT_CODE | rng.randrange(2) << 40), tables.put(FLAT_DATA)
    spare = [(tables.free.pop(), rng.choice((0x92, 0x93, 0xf2))) for _ in range(3)]
    tables.load()
    tables.enter(code, data)
    for _ in range(count):
        (index, access), segment = rng.choice(spare), rng.choice(("es", "fs", "gs"))
        base = p.base + PLAY + rng.randrange(0, 0x8000)
        tables.put(descriptor(base, rng.choice((0xfff, 0xffff, 0x3ffff)), access), index)
        offset = rng.randrange(0, 0xff0)
        rpl = 3 if access == 0xf2 and rng.random() < 0.5 else 0
        p.op(f"mov ecx, {index * 8 | rpl:#x}", f"mov {segment}, cx", f"mov eax, {p.word():#x}",
             f"mov [{segment}:{offset:#x}], eax", f"rol dword [{base + offset:#x}], 7",
             f"mov eax, [{segment}:{offset:#x}]")
        p.say("eax", segment)
        if rng.random() < 0.5:
            # A register keeps its hidden part until it is loaded again.
            moved = base + 8 * rng.randrange(1, 200)
            p.op(f"mov dword [{moved + offset:#x}], {p.word():#x}")
            tables.put(descriptor(moved, 0x3ffff, access), index)
            p.op(f"mov eax, [{segment}:{offset:#x}]")
            p.say("eax", "kept")
            if rng.random() < 0.5:
                # Another exit in between must not bring the new one in.
                p.op("out 0x80, al", f"mov eax, [{segment}:{offset:#x}]")
                p.say("eax", "kept")
            p.op(f"mov {segment}, cx", f"mov eax, [{segment}:{offset:#x}]")
            p.say("eax", "new")
        if rng.random() < 0.3:
            p.op(f"mov ecx, {data:#x}", f"mov {segment}, cx", f"mov eax, [{segment}:esp - 4]")
            p.op("xor eax, eax")
    p.end(rng.randrange(0, 60))
    return p


def evil_descriptors(rng, count):
    """Descriptors that a guest should not get as they are, among some that it should."""
    found = []
    for _ in range(count):
        base, limit = rng.getrandbits(32), rng.getrandbits(20)
        kind = rng.randrange(9)
        if kind == 0:
            found.append(rng.getrandbits(64))
        elif kind == 1:  # long code
            found.append(descriptor(0, 0xfffff, 0x9a, 0xa))
        elif kind == 2:  # conforming code
            found.append(descriptor(rng.choice((0, base)), 0xfffff, 0x9e, 0xc))
        elif kind == 3:  # gates, TSSs, LDTs
            found.append(rng.getrandbits(64) & ~(0x1f << 40) | rng.randrange(16) << 40 | 1 << 47)
        elif kind == 4:  # rings 1 and 2, and code of ring 3
            found.append(descriptor(0, limit, 0x92 | rng.choice((0x20, 0x40, 0x60, 0x68)), 0xc))
        elif kind == 5:  # expand-down
            found.append(descriptor(rng.choice((0, base)), limit, 0x96, rng.choice((0, 4, 8, 12))))
        elif kind == 6:  # near the window, over the end of the 4 GiB
            found.append(descriptor(rng.randrange(0xff800000, 0x100000000), limit, 0x92,
                                    rng.choice((4, 12))))
        else:
            found.append(descriptor(base, limit, rng.choice((0x92, 0x9a, 0x93, 0x90, 0xf2, 0x98)),
                                    rng.choice((0, 4, 8, 12))))
    return found


def evil_tables(rng):
    """A GDT full of them, loaded and edited. (Program, [labels to look at])"""
    p = Program(rng)
    tables = Tables(p)
    code, data = tables.put(FLAT_CODE), tables.put(FLAT_DATA)
    for one in evil_descriptors(rng, len(tables.free) - 6):
        tables.put(one)
    tables.load()
    first = p.label()
    p.op("nop")
    tables.enter(code, data)
    for one in evil_descriptors(rng, 4):
        tables.put(one)
    p.op("nop")
    second = p.label()
    p.op("nop")
    p.end(0)
    return p, [first, second]


FORBIDDEN = (("CR0.PG was set", 0, 0x80000011), ("CR0.PE was cleared", 0, 0x10), ("a reserved bit of CR4 was set", 4, 0x80000000))
"""What te refuses: in words, the control register, its value."""


def forbidden_cr(rng, kind):
    """
    Writes a control register value of FORBIDDEN; behind it nothing may run. Where that is, no guest of another kind has
    code, nor has the next guest: so all of them can run on one machine, whose instructions are counted by address.
    """
    p = Program(rng)
    p.churn(4)
    p.print("before\n")
    _, number, value = FORBIDDEN[kind]
    register = rng.choice(("eax", "ebx", "ecx", "edi"))
    p.op("jmp near away", f"times {4096 * (kind + 1)} nop")
    p.label("away")
    p.op(f"mov {register}, {value:#x}", f"mov cr{number}, {register}")
    p.label("after")
    p.print("behind it\n")
    p.end(1)
    return p
