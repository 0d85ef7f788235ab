"""Lab 6B: the memory of a PV domain.

Equivalent: fresh kernels, of which Xen's ABI says what they find. Witnessed: page tables and Zeno's books are read from the
machine's memory, and counted here; the kernel's words prove nothing.
"""

import struct

from zeno.guests import pv, pvmany, pvmemory, pvtypes
from zeno.judging import evidence, headers

from .guests import module
from .lab4 import said, word
from .lab5 import LIMITS
from .lab6a import C_ARG, C_NUMBER, P_KERNEL_ROOT, P_USER_ROOT, V_ENGINE, prints

F_REFS, F_OWNER, F_TYPE, F_TYPE_REFS, F_PAGE_TYPE, F_PINNED, F_SIZE, GUEST, HOST, V_DOMAIN, D_ID, C_INNER, C_BUDGET, PV_BATCH, P_TYPES, T_FOREIGN = headers.numbers(
    ("kern/frame.h", "vmm/vcpu.h", "vmm/domain.h", "vmm/pv/pv.h"), (
        *(f"offsetof(struct frame, {name})" for name in ("refs", "owner", "type", "type_refs", "page_type", "pinned")),
        "sizeof(struct frame)", "FRAME_GUEST", "FRAME_HOST", "offsetof(struct vcpu, domain)", "offsetof(struct domain, id)",
        "offsetof(struct pv_call, inner)", "offsetof(struct pv_call, budget)", "PV_BATCH", "offsetof(struct pv, types)",
        "offsetof(struct pv_types, foreign)"))

P, W, U = 1, 2, 4
ADDRESS = 0x000FFFFFFFFFF000
HOLE = range(256, 272)
DIRECT_END = 1 << 32
FRAMES_MOST = DIRECT_END >> 12
GOES_ON, A_WHILE, BATCH = 1 << 31, 8, 64
"""Of a call that is not finished (mmu_calls.c); what a request takes of a budget; and the lab's own, of a multicall."""
OTHER = 1
"""The domain that was started first."""


def table(client, mfn):
    """512 entries, from the machine's memory."""
    return struct.unpack("<512Q", client.read(mfn << 12, 4096, physical=True))


def canonical(address):
    """The address that the CPU takes 48 bits for."""
    return address | 0xFFFF << 48 if address >> 47 & 1 else address


# -- 6.4: the builder's tables -----------------------------------------------------------------------


def guests(t, kinds):
    """Fresh kernels in one boot: ({in words: guest}, its name each, the command line, modules)."""
    found, starts, modules = pvmemory.placed(t.rng, kinds), [], []
    for n, guest in enumerate(found.values()):
        modules.append(module(guest.assemble(t.directory, f"kernel{n}")))
        starts.append(f"start kernel{n}")
        if guest.module:
            path = t.directory / f"disk{n}"
            path.write_bytes(guest.module)
            modules.append(module(path))
            starts[-1] += f" module=disk{n}"
    return found, starts, modules


def kinds_of(t, count):
    """So many, each different."""
    return t.rng.sample(sorted(pvmemory.bases(t.rng)), count)


def built(t):
    """Each reads all of its memory, writes what is free, and ends by a write to one of its tables."""
    found, starts, modules = guests(t, kinds_of(t, 4))
    run = t.boot(f"panic=off -- {'; '.join(starts)}; off", modules=modules, limits=LIMITS)
    lives = evidence.lives(run)
    for n, (kind, guest) in enumerate(found.items()):
        life, who = said(run, starts[n]), f"a kernel that lies {kind}"
        t.check(f"kernel{n}: started" in life, f"{who} does not start", "it starts", life)
        one = [one for one in lives if one.name == f"kernel{n}"][0]
        got = one.output.decode("ascii", "replace").split()
        for i, line in enumerate(guest.wanted()):
            t.check(i < len(got), f"{who} gets no further than line {i} of {len(guest.expected)}: a page is missing", line,
                    "\n".join([*got[-3:], life]))
            t.check(line == got[i], f"{who} finds something else, in line {i + 1} of {len(guest.expected)}", line, got[i])
        t.check(len(got) == len(guest.expected), f"{who} can write to a page table of its own", "#PF", "it goes on")
        t.check("#PF" in life, f"{who} does not end by its write to a page table", "#PF, for which it has no handler", life)
    t.orderly(run)


class Walk:
    """All that a root leads to, but for the hole: which pages are mapped where, and by which tables."""

    def __init__(self, t, client, root, who):
        self.t, self.client, self.who = t, client, who
        self.leaves, self.tables = {}, {root: "the root"}
        self.lower(root, 4, 0)

    def lower(self, mfn, level, base):
        """A table and those below."""
        for i, entry in enumerate(table(self.client, mfn)):
            if not entry & P or level == 4 and i in HOLE:
                continue
            at, below = canonical(base | i << 12 + 9 * (level - 1)), (entry & ADDRESS) >> 12
            words = f"{self.who}: the entry of level {level} for {at:x}"
            self.t.check(entry & U, f"{words} lets nobody in ring 3 through", "U=1", f"{entry:x}")
            if level == 1:
                self.leaves[at] = (below, bool(entry & W))
                continue
            self.t.check(entry & W, f"{words} makes all below it read-only", "W=1", f"{entry:x}")
            self.t.check(not entry & 0x80, f"{words} maps a large page", "a table", f"{entry:x}")
            self.t.check(below < DIRECT_END >> 12, f"{words} leads to no memory", "a table", f"{entry:x}")
            self.t.check(below not in self.tables, f"{words} leads to a table that is in use already", "a table of its own",
                         f"frame {below:x}, {self.tables.get(below)}")
            self.tables[below] = f"which {at:x} leads to"
            self.lower(below, level - 1, base | i << 12 + 9 * (level - 1))


def compare(t, client, plan, root, who):
    """The tables of a domain that has not run yet."""
    walk = Walk(t, client, root, who)
    wanted = plan.wanted()
    for at in sorted(wanted):
        t.check(at in walk.leaves, f"{who}: a page is not mapped", f"{at:x}, pfn {wanted[at]:x}", "no entry")
    more = [at for at in walk.leaves if at not in wanted]
    t.check(not more, f"{who}: more is mapped than should be", f"{len(wanted)} pages", "".join(f"{at:x} " for at in more[:4]))
    lists = plan.p2m_at or plan.va(plan.p2m_pfn)
    raw = b"".join(client.read(walk.leaves[lists + (n << 12)][0] << 12, 4096, physical=True) for n in range(plan.p2m_pages))
    p2m = struct.unpack(f"<{pvmemory.PAGES}Q", raw)
    t.check(len(set(p2m)) == pvmemory.PAGES, f"{who}: the list of frames is mapped elsewhere: what lies there is none", "each frame once",
            f"{len(set(p2m))} different")
    for at, pfn in wanted.items():
        mfn, writable = walk.leaves[at]
        t.check(mfn == p2m[pfn], f"{who}: another page is mapped at {at:x}", f"pfn {pfn:x}, frame {p2m[pfn]:x}", f"frame {mfn:x}")
        if plan.is_table(pfn):
            t.check(not writable, f"{who}: the guest can write its page table at {at:x}", "W=0", "W=1")
        else:
            t.check(writable, f"{who}: the guest can't write its memory at {at:x}", "W=1", "W=0")
    theirs = {p2m[pfn] for pfn in range(plan.tables_pfn, plan.stack_pfn)}
    t.check(root == p2m[plan.tables_pfn], f"{who}: the root is not the first of the tables", f"{p2m[plan.tables_pfn]:x}", f"{root:x}")
    t.check(set(walk.tables) == theirs, f"{who}: the domain's page tables are not those that are in use",
            f"{len(theirs)} from pfn {plan.tables_pfn:x} on", f"{len(walk.tables)}, {len(set(walk.tables) & theirs)} of them there")


def walked(t):
    """The tables of each, before it runs."""
    found, starts, modules = guests(t, kinds_of(t, 4))
    todo = list(found.items())

    def see(client, regs):
        kind, guest = todo.pop(0)
        compare(t, client, guest.plan, regs["rsi"], f"a kernel that lies {kind}")
        return not todo

    run, _ = t.witness(f"panic=off -- {'; '.join(starts)}; off", {t.symbol("pv_types_begin"): see}, modules=modules, limits=LIMITS)
    t.check(not todo, f"a kernel that lies {todo and todo[0][0]} is not built", "page tables",
            todo and said(run, starts[len(found) - len(todo)]))
    t.orderly(run)


# -- 6.5: types and counts ---------------------------------------------------------------------------


class Record:
    """A frame, as Zeno's books have it."""

    def __init__(self, raw, at):
        self.refs, = struct.unpack_from("<I", raw, at + F_REFS)
        self.owner, = struct.unpack_from("<H", raw, at + F_OWNER)
        self.kind, self.page_type, self.pinned = raw[at + F_TYPE], raw[at + F_PAGE_TYPE], raw[at + F_PINNED]
        self.type_refs, = struct.unpack_from("<I", raw, at + F_TYPE_REFS)


def records(t, client):
    """Of all frames that there are."""
    count = word(client, t.symbol("frame_count"))
    t.check(count <= FRAMES_MOST, "frame_count says more than any machine here has", FRAMES_MOST, count)
    raw = client.read(word(client, t.symbol("frames")), count * F_SIZE)
    return [Record(raw, n * F_SIZE) for n in range(count)]


class Books:
    """All frames of a domain's, counted once more from its tables."""

    def __init__(self, t, client, vcpu, when):
        self.t, self.client, self.when = t, client, when
        pv = word(client, vcpu + V_ENGINE)
        self.owner, = struct.unpack("<H", client.read(word(client, vcpu + V_DOMAIN) + D_ID, 2))
        self.frames = {n: one for n, one in enumerate(records(t, client)) if one.owner == self.owner and one.kind in (GUEST, HOST)}
        self.roots = [root for root in (word(client, pv + at) for at in (P_KERNEL_ROOT, P_USER_ROOT)) if root in self.frames]
        self.uses, self.reads, self.writes = ({} for _ in range(3))

    def add(self, counts, mfn):
        """One more."""
        counts[mfn] = counts.get(mfn, 0) + 1

    def entries(self, mfn, level):
        """Those of a table."""
        for i, entry in enumerate(table(self.client, mfn)):
            if not entry & P or level == 4 and i in HOLE:
                continue
            to, words = (entry & ADDRESS) >> 12, f"{self.when}: table {mfn:x} of level {level}, entry {i} is {entry:x}"
            self.t.check(not entry & ~(pvtypes.ALLOWED | ADDRESS), f"{words}, which no entry may be", "none of these bits", f"{entry:x}")
            self.t.check(entry & U, f"{words}: nobody in ring 3 gets through", "U=1", "U=0")
            self.t.check(to in self.frames, f"{words}: it leads to a frame that is not the domain's", "its own", f"frame {to:x}")
            kind = self.frames[to].page_type
            if level > 1:
                self.t.check(kind == level - 1, f"{words}: it leads to what is no table of level {level - 1}", level - 1, f"type {kind}")
                self.add(self.uses, to)
            elif entry & W:
                self.t.check(not kind, f"{words}: the guest can write a page table by it", "memory", f"a table of level {kind}")
                self.add(self.writes, to)
            else:
                self.add(self.reads, to)

    def recount(self, held=()):
        """What each frame is used as, and how often; of those that are held Zeno itself has a use."""
        for mfn, one in self.frames.items():
            self.t.check(one.page_type <= 4, f"{self.when}: frame {mfn:x} is of no type", "0 to 4", one.page_type)
            if one.page_type:
                self.entries(mfn, one.page_type)
            if one.pinned:
                self.add(self.uses, mfn)
        for root in self.roots:
            self.t.check(self.frames[root].page_type == 4, f"{self.when}: the CPU has a root that is none", 4, self.frames[root].page_type)
            self.add(self.uses, root)
        for mfn, one in self.frames.items():
            if mfn in held:
                continue
            wanted = (self.uses if one.page_type else self.writes).get(mfn, 0) + (one.kind == HOST)
            what = f"a table of level {one.page_type}" if one.page_type else "memory"
            self.t.check(one.type_refs == wanted, f"{self.when}: frame {mfn:x}, {what}, is counted as used otherwise than it is", wanted,
                         one.type_refs)
            self.t.check(not one.page_type or wanted, f"{self.when}: frame {mfn:x} is {what}, and nobody uses it", "memory", what)
            wanted = self.reads.get(mfn, 0) + 1
            self.t.check(one.refs == wanted, f"{self.when}: frame {mfn:x}, {what}, is counted as mapped for reading otherwise than it is",
                         wanted - 1, one.refs - 1)


def lines(t, run, program, who, name, number=0):
    """The guest, which was started as this one, has printed what it must."""
    life = said(run, f"start {name}")
    t.check(f"{name}: started" in life, f"{who} does not start", "it starts", life)
    got = evidence.lives(run)[number].output.decode("ascii", "replace").split()
    for i, line in enumerate(program.wanted()):
        t.check(i < len(got), f"{who} gets no further than line {i} of {len(program.expected)}", line, "\n".join([*got[-3:], life]))
        t.check(line == got[i], f"{who} hears something else of its call {i + 1} of {len(program.expected)}, {program.calls[i]}", line, got[i])
    t.check("guest powered off" in life, f"{who} does not come to its end", "guest powered off", life)


def watched(t, program, who):
    """Its calls' answers are the model's, and the books are right wherever somebody looks."""
    elf, at, seen = program.assemble(t.directory, "tables"), {}, []

    def begins(client, regs):
        at["vcpu"] = regs["rdi"]
        return False

    def look(client, regs):
        seen.append(True)
        books = Books(t, client, at["vcpu"], f"{who}, look {len(seen)}")
        books.recount(held(client, books, program))
        contents(t, client, program, len(seen) - 1, books.when)
        return len(seen) == program.looks

    points = {t.symbol("pv_types_begin"): begins} | {program.at(f"look{n}"): look for n in range(program.looks)}
    run, _ = t.witness("panic=off -- start tables; off", points, modules=[module(elf)], limits=LIMITS)
    lines(t, run, program, who, "tables")
    t.check(len(seen) == program.looks, f"{who} does not come where its tables are looked at", program.looks, len(seen))
    t.orderly(run)


def contents(t, client, program, look, when):
    """The entries themselves, of all pages of the pool."""
    mfns = struct.unpack(f"<{pvtypes.FAR + 1}Q", client.read(program.at("mfns"), 8 * (pvtypes.FAR + 1)))
    for n, there in enumerate(program.there[look]):
        found = table(client, mfns[n])
        for index, (to, bits) in there.items():
            wanted = mfns[to] << 12 & ADDRESS | bits
            t.check(index in HOLE or found[index] == wanted, f"{when}: another entry {index} stands in page {n} of the guest's tables",
                    f"{wanted:x}", f"{found[index]:x}")


def held(client, books, program):
    """The rings' pages, which Zeno itself writes to: by the guest's start_info."""
    raw = client.read(word(client, program.at("info")), 88)
    return [mfn for mfn in struct.unpack_from("<Q8xQ", raw, 56) if mfn in books.frames]


def pinned(t):
    """Pins and roots of the tables that a guest was built with: no entry is written."""
    watched(t, pvtypes.pins(t.rng, 40), "a guest that pins the tables that it was built with")


def recounted(t):
    """Pins, and what stands in their way."""
    watched(t, pvtypes.program(t.rng, 60), "a guest that makes tables of its pages at random")


def confused(t):
    """Each thing that no table may be, one after the other."""
    watched(t, pvtypes.attacks(t.rng), "a guest that tries what no table may be")


def of_another(t):
    """Between a guest's two looks it may map pages of another one's, as dom0 may: struct pv_types says so."""
    program, who, at, before = pvtypes.guests(t.rng), "a guest that may map pages of another", {}, {}
    sleeper = pv.Paravirtual(t.rng)
    sleeper.op("jmp $")
    program.word_there = None  # what it must read, once it gets so far
    images = [sleeper.assemble(t.directory, "other"), program.assemble(t.directory, "tables")]

    def begins(_client, regs):
        at["vcpu"] = regs["rdi"]
        return False

    def counts(client):
        return {n: one for n, one in enumerate(records(t, client)) if one.owner == OTHER}

    def lets(client, _regs):
        theirs = counts(client)
        page, leaf = (t.rng.choice([n for n, one in theirs.items() if one.kind == GUEST and one.page_type == kind]) for kind in (0, 1))
        before.update({n: (theirs[n].refs, theirs[n].type_refs) for n in (page, leaf)})
        client.write(program.at("mfns") + 8 * pvtypes.ZENO, struct.pack("<2Q", page, leaf))
        client.write(word(client, word(client, at["vcpu"] + V_ENGINE) + P_TYPES) + T_FOREIGN, struct.pack("<H", OTHER))
        program.word_there = table(client, page)[0]
        return False

    def takes_back(client, _regs):
        client.write(word(client, word(client, at["vcpu"] + V_ENGINE) + P_TYPES) + T_FOREIGN, bytes(2))
        for n, one in counts(client).items():
            t.check(before.get(n, (one.refs, one.type_refs)) == (one.refs, one.type_refs),
                    f"{who}: frame {n:x} of the other's is counted as used or mapped, and is no more", before.get(n), (one.refs, one.type_refs))
        return True

    points = {t.symbol("pv_types_begin"): begins, program.at("look0"): lets, program.at("look1"): takes_back}
    run, _ = t.witness("panic=off -- start other &; start tables; off", points, modules=[module(one) for one in images], limits=LIMITS)
    lines(t, run, program, who, "tables", 1)
    t.orderly(run)


# -- 6.6: entries ------------------------------------------------------------------------------------


def entries(t):
    """Tables in use are written by hypercalls."""
    watched(t, pvtypes.updates(t.rng, 60), "a guest that writes entries of its tables by hypercalls")


def forgotten(t):
    """Another page at the same address is seen at once."""
    program = pvtypes.forgotten(t.rng, 24)
    elf = program.assemble(t.directory, "tables")
    run = t.boot("panic=off -- start tables; off", modules=[module(elf)], elf=[elf], limits=LIMITS)
    lines(t, run, program, "a guest that maps one page after the other at one address", "tables")
    t.orderly(run)


# -- 6.7: many at once -------------------------------------------------------------------------------


def many(t):
    """Results of multicalls."""
    prints(t, pvmany.results(t.rng), "many", "a guest that asks for many calls at once")


class Onlooker:
    """Who sees each call of many begin. As soon as one has, its entry says something else; and what an exit may do is bounded."""

    def __init__(self, t, program):
        self.t, self.program, self.seen, self.exits = t, program, [], 0
        self.begun, self.left = 0, 0
        """In this exit: how many, and what budget the ones before have left."""

    def begins(self, client, regs):
        """A breakpoint at pv_call()."""
        c = regs["rsi"]
        number, *got = struct.unpack("<7Q", client.read(c + C_NUMBER, 56))
        if not client.read(c + C_INNER, 1)[0]:
            self.begun, self.left = 0, PV_BATCH
            return False
        self.bounded(number, got, *struct.unpack("<I", client.read(c + C_BUDGET, 4)))
        if not (number == 1 and got[1] & GOES_ON):
            self.first(client, number, got)
        return False

    def bounded(self, number, got, budget):
        """Within one exit."""
        self.begun += 1
        self.t.check(self.begun <= BATCH, "more of many are begun within one exit than may be", f"{BATCH}, and then the host's affairs", self.begun)
        self.t.check(budget <= self.left, f"call {self.begun} of many within one exit may do more than those before it have left",
                     f"{self.left} entries", budget)
        self.left = max(budget - A_WHILE * (got[1] & 0xFFFF), 0) if number == 1 else budget

    def first(self, client, number, got):
        """It is one that the guest has asked for, and the next one."""
        seen, asked = self.seen, self.program.asked
        self.t.check(len(seen) < len(asked), "more calls are done than the guest has asked for at once", len(asked), "more")
        wanted, args, at = asked[len(seen)]
        seen.append(number)
        self.t.check(number == wanted, f"call {len(seen)} of many is another one than the guest has asked for", wanted, number)
        for i, arg in enumerate(args):
            self.t.check(isinstance(arg, str) or got[i] == arg, f"call {len(seen)} of many has another argument {i}", arg, f"{got[i]:x}")
        if at is not None:
            at += self.program.at("calls_at")
            client.write(at, struct.pack("<Q", 63))
            client.write(at + 16, struct.pack("<6Q", *[self.t.rng.getrandbits(64) for _ in range(6)]))


def once(t):
    """Each is done once, in order, as it was read."""
    program = pvmany.edges(t.rng)
    elf, onlooker = program.assemble(t.directory, "many"), Onlooker(t, program)
    run, _ = t.witness("panic=off -- start many; off", {t.symbol("pv_call"): onlooker.begins}, modules=[module(elf)], limits=LIMITS)
    life = said(run, "start many")
    t.check(len(onlooker.seen) == len(program.asked), "not all calls are done that the guest has asked for at once", len(program.asked),
            f"{len(onlooker.seen)}\n{life}")
    got = evidence.lives(run)[0].output.decode("ascii", "replace").split()
    for i, line in enumerate(program.wanted()):
        t.check(i < len(got) and line == got[i], f"a guest that asks for many calls at once finds something else, in line {i + 1}", line,
                got[i] if i < len(got) else life)
    t.check("guest powered off" in life, "a guest that ends by one of many calls does not", "guest powered off", life)
    t.orderly(run)
