"""Fresh PV guests that make page tables of their own, and a model of what Xen's ABI says to each of their calls.

A Tables is a program and its prediction at once: each call is emitted, and the model says what comes back. It has a pool of
pages, which are tables of all levels or memory in turn; entries lead to these, and to what no entry may lead to.
"""

from .pv import BASE, SELF, Paravirtual

EINVAL = -22
P, W, U, A, D, PS, G, NX = 1, 2, 4, 0x20, 0x40, 0x80, 0x100, 1 << 63
KERNEL = 1 << 52
ALLOWED = P | W | U | A | D | 7 << 9 | 0xFFF << 52
HARMLESS = A | D | 7 << 9 | 0xFFF << 52
HOLE = range(256, 272)
POOL = 13
KINDS = (4, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0, 0)
"""What each page of the pool is good for: the level of a table, or 0."""
BUILT, SHARED, ZENO, FAR = POOL, POOL + 1, POOL + 2, POOL + 3
"""The builder's table of level 1; the page that Zeno shares; one of Zeno's own; none at all."""
PIN, UNPIN, FLUSH, NEW_USER_ROOT = (0, 1, 2, 3), 4, 6, 15
INDICES = (0, 1, 2, 254, 255, 256, 263, 271, 272, 510, 511)


class Frame:
    """What Zeno should know of one."""

    def __init__(self, kind=0, uses=1):
        self.type, self.uses, self.reads, self.pinned = kind, uses, 0, False
        self.entries = {}
        """{index: (frame, bits)}, as they stand in memory."""
        self.mapped = True
        """For writing, in the builder's tables."""


class Model:
    """All frames that a Tables can name."""

    def __init__(self):
        self.frames = [Frame() for _ in range(POOL)] + [Frame(1, 1), Frame(0, 1)]
        self.user_root = None

    def own(self, n):
        """The frame, if it is the guest's to use."""
        return self.frames[n] if n < len(self.frames) else None

    def get(self, n, kind):
        """One use more."""
        f = self.own(n)
        if f and f.type == kind and f.uses:
            f.uses += 1
            return 0
        if not f or n == SHARED or f.type or f.uses:
            return EINVAL
        f.type = kind
        done = []
        for index in sorted(f.entries):
            if self.count(f, kind, index):
                for before in reversed(done):
                    self.uncount(kind, before, f.entries[before])
                f.type = 0
                return EINVAL
            done.append(index)
        if kind == 4:  # Zeno's own are there instead
            f.entries = {index: entry for index, entry in f.entries.items() if index not in HOLE}
        f.uses = 1
        return 0

    def put(self, n):
        """One use less."""
        f = self.frames[n]
        f.uses -= 1
        if not f.uses and f.type:
            for index in sorted(f.entries, reverse=True):
                self.uncount(f.type, index, f.entries[index])
            f.type = 0

    def as_seen(self, kind, bits):
        """An entry has U, and of level 1 a note that it had not."""
        return bits | U | (KERNEL if kind == 1 else 0) if bits & (P | U) == P else bits

    def count(self, f, kind, index):
        """An entry of a table that is made."""
        to, bits = f.entries[index]
        if not bits & P or kind == 4 and index in HOLE:
            return 0
        f.entries[index] = (to, self.as_seen(kind, bits))
        return self.reach(kind, *f.entries[index])

    def reach(self, kind, to, bits):
        """What an entry leads to is counted."""
        if bits & ~ALLOWED:
            return EINVAL
        if kind > 1:
            return self.get(to, kind - 1)
        f = self.own(to)
        if not f or bits & W and f.type:
            return EINVAL
        if bits & W:
            f.uses += 1
        else:
            f.reads += 1
        return 0

    def uncount(self, kind, index, entry):
        """An entry is taken back."""
        to, bits = entry
        if not bits & P or kind == 4 and index in HOLE:
            return
        if kind > 1:
            self.put(to)
        elif bits & W:
            self.frames[to].uses -= 1
        else:
            self.frames[to].reads -= 1

    def write(self, n, index, to, bits, keeps=False):
        """mmu_update of an entry."""
        f = self.own(n)
        if not f:
            return EINVAL
        if keeps:
            bits |= f.entries.get(index, (FAR, 0))[1] & (A | D)
        if not f.type:
            f.entries[index] = (to, bits)
            return 0
        if f.type == 4 and index in HOLE:
            return EINVAL
        bits, old = self.as_seen(f.type, bits), f.entries.get(index, (FAR, 0))
        if to == old[0] and not (bits ^ old[1]) & ~HARMLESS:
            f.entries[index] = (to, bits)
            return 0
        if bits & P and self.reach(f.type, to, bits):
            return EINVAL
        f.entries[index] = (to, bits)
        self.uncount(f.type, index, old)
        return 0

    def map(self, n, writes):
        """A page of the pool, in the builder's tables."""
        f = self.frames[n]
        if writes == f.mapped:
            return 0
        if writes and f.type:
            return EINVAL
        f.uses += 1 if writes else -1
        f.reads += -1 if writes else 1
        f.mapped = writes
        return 0

    def pin(self, n, kind):
        """PIN_Ln_TABLE."""
        f = self.own(n)
        if not f or f.pinned or self.get(n, kind):
            return EINVAL
        f.pinned = True
        return 0

    def unpin(self, n):
        """UNPIN_TABLE."""
        f = self.own(n)
        if not f or not f.pinned:
            return EINVAL
        f.pinned = False
        self.put(n)
        return 0

    def root(self, n):
        """NEW_USER_BASEPTR; None is none."""
        if n is not None and self.get(n, 4):
            return EINVAL
        old, self.user_root = self.user_root, n
        if old is not None:
            self.put(old)
        return 0


class Tables(Paravirtual):
    """The program."""

    def __init__(self, rng):
        super().__init__(rng)
        self.model, self.looks, self.calls, self.there = Model(), 0, [], []
        self.data += ["align 4096", f"pool: times {POOL << 12} db 0", f"mfns: times {FAR + 1} dq 0", "request: times 3 dq 0", "done: dq 0"]
        self.op("mov rbx, [info]", "mov rsi, [rbx + 104]")
        for n in range(POOL):
            self.op(f"mov rax, pool + {n << 12}", f"mov rcx, {BASE:#x}", "sub rax, rcx", "shr rax, 12", "mov rax, [rsi + rax * 8]",
                    f"mov [mfns + {8 * n}], rax")
        self.op("mov rax, [rbx + 88]", f"mov rcx, {BASE:#x}", "sub rax, rcx", "shr rax, 12", "mov rax, [rsi + rax * 8 + 24]",
                f"mov [mfns + {8 * BUILT}], rax", "mov rax, [rbx + 40]", "shr rax, 12", f"mov [mfns + {8 * SHARED}], rax",
                f"mov qword [mfns + {8 * ZENO}], 0x101", f"mov qword [mfns + {8 * FAR}], 0x7ffff00")

    def answer(self, what, wanted):
        """Of a call."""
        self.say("rax", wanted)
        self.calls.append(what)

    def entry(self, to, bits):
        """Into rax."""
        self.op(f"mov rax, [mfns + {8 * to}]", "shl rax, 12", f"mov rcx, {bits:#x}", "or rax, rcx")

    def store(self, n, index, to, bits):
        """What the guest writes by itself, to memory."""
        assert self.model.frames[n].mapped
        self.model.frames[n].entries[index] = (to, bits)
        self.entry(to, bits)
        self.op(f"mov rdi, pool + {(n << 12) + 8 * index}", "mov [rdi], rax")

    def map(self, n, writes):
        """update_va_mapping of one of the pool."""
        self.entry(n, P | U | A | (W | D if writes else 0))
        self.op("mov rsi, rax", f"mov rdi, pool + {n << 12}", "mov edx, 2", "mov eax, 14", "syscall")
        self.answer(f"to map page {n} for {'writing' if writes else 'reading'}", self.model.map(n, writes))

    def extended(self, command, to):
        """mmuext_op of one."""
        self.op(f"mov qword [request], {command}", f"mov rax, [mfns + {8 * to}]" if to is not None else "xor eax, eax", "mov [request + 8], rax")
        self.call(26, "request", 1, 0, SELF)

    def pin(self, n, kind):
        """A pin."""
        self.extended(PIN[kind - 1], n)
        self.answer(f"to pin page {n} as a table of level {kind}", self.model.pin(n, kind))

    def unpin(self, n):
        """And no more."""
        self.extended(UNPIN, n)
        self.answer(f"to unpin page {n}", self.model.unpin(n))

    def root(self, n):
        """The root of a user that never runs."""
        self.extended(NEW_USER_ROOT, n)
        self.answer(f"its user's root is page {n}", self.model.root(n))

    def update(self, n, index, to, bits, keeps=False):
        """mmu_update of an entry, wherever it lies; or one that keeps its A and D."""
        self.entry(to, bits)
        self.op("mov [request + 8], rax", f"mov rax, [mfns + {8 * n}]", "shl rax, 12", f"or rax, {8 * index | (2 if keeps else 0)}",
                "mov [request], rax")
        self.call(1, "request", 1, "done", SELF)
        self.answer(f"entry {index} of page {n} leads to page {to}, {bits:x}", self.model.write(n, index, to, bits, keeps))

    def name(self, n, number):
        """mmu_update of the table that says which of the guest's frames it is; and what stands there then."""
        own = n < POOL
        self.op(f"mov rax, [mfns + {8 * n}]", "shl rax, 12", "or rax, 1", "mov [request], rax", f"mov rax, {number:#x}",
                "mov [request + 8], rax")
        self.call(1, "request", 1, "done", SELF)
        self.answer(f"page {n} has the number {number:x}", 0 if own else EINVAL)
        if own:
            self.op("mov rbx, 0xffff800000000000", f"mov rax, [mfns + {8 * n}]")
            self.say("[rbx + rax * 8]", number)
            self.calls.append(f"what the number of page {n} is")

    def nowhere(self, address):
        """update_va_mapping where no table is."""
        self.entry(POOL - 1, P | U)
        self.op("mov rsi, rax", f"mov rdi, {address:#x}", "mov edx, 2", "mov eax, 14", "syscall")
        self.answer(f"to map a page at {address:x}", EINVAL)

    def seen(self, n, to, flush):
        """Another page is mapped where one of the pool is, and read there."""
        self.op(f"mov rax, [pool + {(n << 12) + 0xff0}]")  # the CPU knows it now
        self.entry(to, P | U)
        self.op("mov rsi, rax", f"mov rdi, pool + {n << 12}", f"mov edx, {flush}", "mov eax, 14", "syscall")
        self.answer(f"to map page {to} where page {n} was", 0)
        self.say(f"[pool + {(n << 12) + 0xff0}]", to + 1)
        self.calls.append(f"what it reads there, behind a flush of {'one page' if flush & 2 else 'all'}")

    def look(self):
        """Somebody looks at Zeno's books here: behind a call with which all that was begun has come to its end."""
        self.extended(FLUSH, None)
        self.label(f"look{self.looks}")
        self.op("nop")
        self.looks += 1
        self.there.append([dict(f.entries) for f in self.model.frames[:POOL]])


def some_entry(rng, kind, sound=False):
    """For a table of this level: mostly what can be, with what can't."""
    below = [n for n in range(POOL) if KINDS[n] == kind - 1]
    to, bits = rng.choice(below), P | U | rng.choice((0, A, D, A | D)) | (W if kind > 1 or rng.random() < .5 else 0)
    if kind == 1 and rng.random() < .3:
        to, bits = rng.randrange(POOL), P | U
    dice = .1 if sound else rng.random()
    if dice < .05:
        to = rng.choice((BUILT, SHARED, ZENO, FAR, *range(POOL)))
    elif dice < .08:
        bits |= rng.choice((PS, G, PS, 8, 16))
    elif dice < .2:
        bits ^= rng.choice((U, P, NX, A, KERNEL, 1 << 9))
    return to, bits


def filled(rng, sound=False):
    """A Tables whose pool has entries."""
    g = Tables(rng)
    for n, kind in enumerate(KINDS):
        for index in rng.sample(INDICES, rng.randrange(1, 5)) if kind else ():
            g.store(n, index, *some_entry(rng, kind, sound))
    for n in rng.sample(range(POOL), POOL):
        if KINDS[n] and (sound or rng.random() < .9):
            g.map(n, False)
    return g


def one(g, rng):
    """A call at random."""
    n = rng.randrange(POOL)
    kind = KINDS[n] if KINDS[n] and rng.random() < .85 else rng.randrange(1, 5)
    pinned = [i for i in range(POOL) if g.model.frames[i].pinned]
    what = rng.choices(("pin", "unpin", "read", "write", "root", "store"), (9, 5, 4, 2, 2, 3))[0]
    if what == "pin":
        g.pin(rng.choice((n, n, n, n, rng.randrange(FAR + 1))), kind)
    elif what == "unpin":
        g.unpin(rng.choice(pinned) if pinned and rng.random() < .8 else n)
    elif what in ("read", "write"):
        g.map(n, what == "write")
    elif what == "root":
        g.root(rng.choice((0, 0, None, n)))
    elif g.model.frames[n].mapped and KINDS[n]:
        g.store(n, rng.choice(INDICES), *some_entry(rng, KINDS[n]))


def program(rng, count):
    """Pins, and what stands in their way, at random."""
    g = filled(rng)
    for i in range(count):
        one(g, rng)
        if i in (count // 3, count * 2 // 3):
            g.look()
    g.look()
    g.end()
    return g


def attacks(rng):
    """What no table may be, each by itself, in an order of chance; and behind each refusal the right way."""
    g = Tables(rng)
    l4, l3, l2, l1, page = 0, 1, 3, 6, 9

    def chain():
        g.store(l4, 5, l3, P | W | U)
        g.store(l3, 6, l2, P | W | U)
        g.store(l2, 7, l1, P | W | U)
        g.store(l1, 8, page, P | W | U)

    def refused(n, kind, at, to, bits):
        """A table with one bad entry behind good ones: nothing of it stays."""
        at = [i for i in INDICES if i > 8 and i not in HOLE][at % 5]
        g.store(n, at, to, bits)
        g.map(n, False)
        g.pin(n, kind)
        g.map(n, True)
        g.store(n, at, FAR, 0)

    def written():
        g.pin(l1, 1)
        g.map(l1, False)
        g.pin(l1, 1)
        g.map(l1, True)
        g.pin(l1, 1)
        g.unpin(l1)
        g.unpin(l1)
        g.map(l1, True)

    def two_levels():
        g.map(l1, False)
        g.pin(l1, 1)
        refused(l3, 3, 0, l1, P | W | U)
        g.pin(l1, 2)
        g.unpin(l1)
        g.map(l1, True)

    def itself():
        refused(l4, 4, 1, l4, P | U)
        refused(l2, 2, 2, l2, P | U)
        refused(l1, 1, 3, l1, P | W | U)
        refused(l1, 1, 3, BUILT, P | W | U)

    def kept():
        """A table in use by two, one of which goes."""
        for n in (l4, l3, l2, l1):
            g.map(n, False)
        g.root(l4)
        g.pin(l2, 2)
        g.look()
        g.root(None)
        g.map(l2, True)
        g.map(l1, True)
        g.map(l3, True)
        g.look()
        g.unpin(l2)
        for n in (l4, l2, l1):
            g.map(n, True)

    def foreign():
        for to in (ZENO, FAR):
            refused(l1, 1, rng.randrange(5), to, P | U)
            refused(l2, 2, rng.randrange(5), to, P | W | U)
        refused(l2, 2, rng.randrange(5), SHARED, P | W | U)
        g.pin(rng.choice((ZENO, FAR)), rng.randrange(1, 5))

    def bits():
        """Behind a table below that could be used."""
        for bit in (PS, G, 8, 16):
            refused(l1, 1, rng.randrange(5), page, P | U | bit)
        g.map(l1, False)
        refused(l2, 2, rng.randrange(5), l1, P | W | U | PS)
        g.map(l2, False)
        refused(l3, 3, rng.randrange(5), l2, P | W | U | PS)
        g.map(l2, True)
        g.map(l1, True)

    def shared():
        g.store(l1, 9, SHARED, P | W | U)
        g.store(l1, 10, SHARED, P)
        g.map(l1, False)
        g.pin(l1, 1)
        g.look()
        g.pin(l1, 1)
        g.unpin(l1)
        g.map(l1, True)

    def hole():
        g.store(l4, rng.choice((256, 263, 271)), ZENO, P | W | U | PS)
        for n in (l4, l3, l2, l1):
            g.map(n, False)
        g.pin(l4, 4)
        g.look()
        g.unpin(l4)
        for n in (l4, l3, l2, l1):
            g.map(n, True)

    def held_memory():
        """Memory that a table lets be written becomes none."""
        g.map(l1, False)
        g.pin(l1, 1)
        g.map(page, False)
        g.pin(page, 1)
        g.unpin(l1)
        g.pin(page, 1)
        g.look()
        g.unpin(page)
        g.map(page, True)
        g.map(l1, True)

    chain()
    todo = [written, two_levels, itself, kept, foreign, bits, shared, hole, held_memory]
    rng.shuffle(todo)
    for part in todo:
        part()
    g.look()
    g.end()
    return g


def updates(rng, count):
    """Tables in use are written, entry by entry, at random."""
    g = filled(rng, True)
    for n in rng.sample(range(POOL), POOL):
        if KINDS[n]:
            g.pin(n, KINDS[n])
    for i in range(count):
        n = rng.choice([n for n in range(POOL) if KINDS[n]])
        what = rng.choices(("update", "name", "nowhere", "map"), (12, 1, 1, 1))[0]
        if what == "update":
            index, kind = rng.choice(INDICES), g.model.frames[n].type or KINDS[n]
            old = g.model.frames[n].entries.get(index)
            to, bits = some_entry(rng, kind)
            if old and rng.random() < .3:  # nearly what it was
                to, bits = old[0], old[1] ^ rng.choice((A, D, A | D, NX, 1 << 9, W))
            g.update(rng.choice((n, n, n, n, n, n, ZENO, FAR)), index, to, bits, rng.random() < .4)
        elif what == "name":
            g.name(rng.choice((n, n, FAR)), rng.getrandbits(64))
        elif what == "nowhere":
            g.nowhere(rng.choice((0x1000, 0xFFFF800000000000, 0xFFFF830000000000, 0x800000000000, 1 << 63, 0xFFFF880000000000)))
        else:
            g.map(n, rng.random() < .5)
        if i in (count // 3, count * 2 // 3):
            g.look()
    marked = [(n, index) for n, f in enumerate(g.model.frames[:POOL]) for index, (_, bits) in f.entries.items() if bits & (A | D)]
    for n, index in rng.sample(marked, min(8, len(marked))):
        to, bits = g.model.frames[n].entries[index]
        g.update(n, index, to, bits & ~(A | D), rng.random() < .7)
    g.look()
    g.end()
    return g


def forgotten(rng, count):
    """What the CPU knows of an address must go when the entry does."""
    g = Tables(rng)
    for n in range(POOL):
        g.op(f"mov qword [pool + {(n << 12) + 0xff0}], {n + 1}")
    for _ in range(count):
        g.seen(rng.randrange(POOL), rng.randrange(POOL), rng.choice((1, 2, 1 | 4, 2 | 4)))
    g.end()
    return g
