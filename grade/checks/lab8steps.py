"""Lab 8: claim, map, release and look by themselves, in all states that there are, and each step of a map as one that fails."""

import struct

from zeno.guests.pvgrants import (
    AVAIL, BAD_GNTREF, BAD_PAGE, BAD_VIRT, BY_ENTRY, DEVICE, GENERAL, HOST, OKAY, PERMIT, READ, READING, READONLY, ROOT, SHARED, SUB_PAGE, USERS, USES,
    WRITING, use_words,
)
from zeno.judging import headers

from .lab4 import word
from .lab6a import invoke
from .lab6b import F_REFS, F_SIZE, F_TYPE_REFS
from .lab8alone import ACTIVE, FREE, HANDLES, ENTRY, LEVEL1, NOBODY, REF, counts, entry, signed, two
from .lab8books import G_FREE, G_HANDLES, H_FLAGS, H_MFN, H_PER, H_REF

HANDLE_FRAMES, = headers.numbers(("vmm/pv/grant/grant.h",), ("PV_HANDLE_FRAMES",))
NO_SPACE, EINVAL = -13, (1 << 64) - 22
KERNELS = 1 << 52
"""In an entry whose guest has not said that its user may use it: PV_KERNEL."""


# -- 8.2: claim and map ----------------------------------------------------------------------------------


def answer(two_of, flags, dom, mfn, active, writes, count=1):
    """(status, frame, whether the entry is asked) of a claim of d2's; `count` 0: of a look."""
    used = active[2] or active[3]
    if used and (active[1] != 2 or active[3 if writes else 2] + count > USES):
        return GENERAL, None, False
    asked = not used or writes and not active[3]
    if asked and (flags & (3 | SUB_PAGE) != PERMIT or dom != 2 or writes and flags & READONLY):
        return GENERAL, None, False
    mfn = active[0] if used else mfn
    return (OKAY, mfn, asked) if two_of.fits(mfn, writes) else (BAD_PAGE, None, asked)


def claims_of(two_of):
    """(in words, an entry, its active one): states that a claim can meet."""
    mfn = two_of.mfn
    good = (PERMIT, 2, mfn[1])
    yield "an entry that nobody uses", good, (0, 0, 0, 0)
    yield "an entry whose last use is over", good, (mfn[2], 3, 0, 0)
    yield "an entry to another domain", (PERMIT, 3, mfn[1]), (0, 0, 0, 0)
    yield "an entry to the granter itself", (PERMIT, 1, mfn[1]), (0, 0, 0, 0)
    yield "an entry to be read alone", (PERMIT | READONLY, 2, mfn[1]), (0, 0, 0, 0)
    for readers, writers in ((1, 0), (0, 1), (254, 0), (255, 0), (0, 254), (0, 255), (255, 3), (3, 255)):
        bits = READING | (WRITING if writes_of(writers) else 0)
        who = f"an entry with {readers} readers and {writers} writers"
        active = (mfn[1], 2, readers, writers)
        yield who, (PERMIT | bits, 2, mfn[1]), active
        yield f"{who} which grants another frame by now", (PERMIT | bits, 2, mfn[3]), active
        yield f"{who} which is to be read alone by now", (PERMIT | READONLY | bits, 2, mfn[1]), active
        yield f"{who} which is none by now", (0, 0, 0), active
        yield f"{who}, all of d3's, which is granted to d2 by now", (PERMIT | bits, 2, mfn[1]), (mfn[1], 3, readers, writers)
    for frame, words in ((mfn[ROOT], "its page table"), (mfn[SHARED], "a page of Zeno's that it shares"), (two_of.theirs[0], "a frame of the user's"),
                         (0x100, "a frame of nobody's"), (0x7FFFFFFF, "no frame"), (0xFFFFFFFF, "no frame at all")):
        yield f"an entry that grants {words}", (PERMIT | 0x20, 2, frame), (0, 0, 0, 0)
    yield "an entry of its page table with a reader", (PERMIT | READING | 0x20, 2, mfn[ROOT]), (mfn[ROOT], 2, 1, 0)


def writes_of(writers):
    """Whether there are any."""
    return writers > 0


def asked(one, call, likes, count=1):
    """Each state, to read and to write, told by `call` of the entry: (who, writes, what was before, its active entry, answer())."""
    t, client = one.t, one.client
    for words, (flags, dom, frame), active in claims_of(one):
        for writes in (False, True):
            was = one.snapshot()
            one.put(entry(flags, dom, frame), active)
            before = one.state()
            told = answer(one, flags, dom, frame, active, writes, count)
            client.write(one.stack, struct.pack("<Q", NOBODY))
            got = signed(invoke(t, client, one.stack - 0x400, call, one.of.at, REF, one.by.at, writes, one.stack)["rax"])
            who = f"{call}() {likes} {words} to {'write' if writes else 'read'}"
            t.check(got == told[0], f"{who}: its status is something else", told[0], got)
            t.check(told[0] or word(client, one.stack) == told[1], f"{who}: *m is something else", told[1] and f"{told[1]:x}",
                    f"{word(client, one.stack):x}")
            yield who, writes, before, ((flags, dom, frame), active), told
            one.restore(was)


def claims(one):
    """pv_grant_claim() in all states."""
    for who, writes, before, ((flags, dom, frame), active), (status, mfn, first) in asked(one, "pv_grant_claim", "of"):
        changes = {}
        if not status:
            bits = (READING | (WRITING if writes else 0)) if first else 0
            refs = before[counts(mfn)]
            changes = {ENTRY: entry(flags | bits, dom, frame).hex(), ACTIVE: (mfn, 2, active[2] + (not writes), active[3] + writes),
                       counts(mfn): (refs[0] + (not writes), refs[1] + writes)}
        elif not (active[2] or active[3]):
            changes = {ACTIVE: one.of.active(REF)}  # of an entry that nobody uses it means nothing
            one.t.check(changes[ACTIVE][2:] == (0, 0), f"{who}: somebody uses it behind it", (0, 0), changes[ACTIVE][2:])
        one.same(who, before, changes)


class GivesBack:
    """What 8.3 writes, done here: it need not be there yet when a step of a map fails."""

    def __init__(self, one):
        self.one, self.client = one, one.client
        self.instead = [("pv_grant_release", self.release), ("pv_handle_end", self.end)]

    def less(self, mfn, writes):
        """One use of the entry's."""
        one, at = self.one, self.one.frames + F_SIZE * mfn + (F_TYPE_REFS if writes else F_REFS)
        count, = struct.unpack("<I", self.client.read(at, 4))
        self.client.write(at, struct.pack("<I", count - 1))
        frame, user, *left = one.of.active(REF)
        left[writes] -= 1
        self.client.write(one.active, struct.pack("<IHBB", frame, user, *left))
        flags, = struct.unpack("<H", self.client.read(one.entry, 2))
        over = (0 if left[1] else WRITING) | (0 if any(left) else READING)
        self.client.write(one.entry, struct.pack("<H", flags & ~over))

    def release(self, regs):
        """pv_grant_release()"""
        one = self.one
        one.t.check((regs["rdi"], regs["rsi"] & 0xFFFFFFFF) == (one.of.at, REF), "what is given back is another one's: something else (granter, entry)",
                    (f"{one.of.at:x}", REF), (f"{regs['rdi']:x}", regs["rsi"] & 0xFFFFFFFF))
        self.less(regs["rdx"], bool(regs["rcx"] & 0xFF))

    def end(self, regs):
        """pv_handle_end()"""
        at = self.one.by.handle_at(regs["rsi"] & 0xFFFFFFFF)
        flags, mfn = (struct.unpack("<I", self.client.read(at + place, 4))[0] for place in (H_FLAGS, H_MFN))
        for _ in range((flags & 1) + (flags >> 1 & 1)):
            self.less(mfn, not flags & READ)
        self.client.write(at + H_FLAGS, bytes(4))
        self.client.write(at + H_REF, self.client.read(self.one.by.at + G_FREE, 4))
        self.client.write(self.one.by.at + G_FREE, struct.pack("<I", regs["rsi"] & 0xFFFFFFFF))


class Request:
    """A map_grant_ref by itself."""

    def __init__(self, one, flags):
        self.one, self.flags, self.at = one, flags, one.stack - 0x100

    def ask(self, at, instead=()):
        """(its status, its handle, its bus address)"""
        one = self.one
        one.client.write(self.at, struct.pack("<QIIHhIQ", 0x1234, self.flags, REF, 1, 99, 0xABCD, 0x5678))
        got = invoke(one.t, one.client, one.stack - 0x400, "pv_grant_map", one.by.at, one.of.at, at, self.at, instead=instead)["rax"]
        return signed(got), *struct.unpack("<IQ", one.client.read(self.at + 20, 12))

    def words(self):
        """What it asks for."""
        return f"pv_grant_map() for {use_words(self.flags)}"


def mapped(one, flags):
    """One that is mapped: all of it; and it is ended again."""
    t, ask = one.t, Request(one, flags)
    writes, parts, mfn = not flags & READ, (flags & 1) + (flags >> 1 & 1), one.mfn[1]
    one.put(entry(PERMIT, 2, mfn))
    before = one.state()
    status, handle, bus = ask.ask(one.at if flags & HOST else 0)
    who = ask.words()
    t.check(status == OKAY, f"{who}: its status is something else", OKAY, status)
    t.check(bus == (mfn << 12 if flags & DEVICE else 0), f"{who}: its bus address is something else", f"{mfn << 12 if flags & DEVICE else 0:x}", f"{bus:x}")
    t.check(handle in before[FREE], f"{who}: its handle is something else", "one that was free", handle)
    refs = before[counts(mfn)]
    there = 1 if flags & HOST else 0
    changes = {
        ENTRY: entry(PERMIT | READING | (WRITING if writes else 0), 2, mfn).hex(),
        ACTIVE: (mfn, 2, 0 if writes else parts, parts if writes else 0),
        counts(mfn): (refs[0] + (0 if writes else parts + there), refs[1] + (parts + there if writes else 0)),
        HANDLES: [(flags & (DEVICE | HOST | READ), REF, mfn, 1)], FREE: [n for n in before[FREE] if n != handle],
    }
    if flags & HOST:
        changes[LEVEL1] = f"{mfn << 12 | 1 | 0x20 | (0x42 if writes else 0) | (0 if flags & USERS else KERNELS) | 4 | (flags >> AVAIL & 7) << 9:x}"
    one.same(who, before, changes)
    kept, = struct.unpack("<I", one.client.read(one.by.handle_at(handle) + H_FLAGS, 4))
    t.check(kept & 31 == flags & 31, f"{who}: its handle's flags are something else", f"{flags & 31:x}", f"{kept:x}")


def each_step(t):
    """Each state, each way, and each step that can fail."""
    def look(one):
        client = one.client
        claims(one)
        for flags in (DEVICE, DEVICE | READ, HOST, HOST | READ, HOST | DEVICE | READ, HOST | DEVICE | USERS, HOST | 5 << AVAIL, HOST | READ | BY_ENTRY | 2 << AVAIL):
            was = one.snapshot()
            mapped(one, flags)
            one.restore(was)
        full = struct.pack("<II", HANDLE_FRAMES * H_PER, 0xFFFFFFFF)
        for flags, words, first, active, at, status, instead, empty in (
                (READ, "which asks for no part", (PERMIT, 2, 1), (0, 0, 0, 0), one.at, BAD_GNTREF, (), False),
                (HOST, "where there is no entry of a page table", (PERMIT, 2, 1), (0, 0, 0, 0), 0, BAD_VIRT, (), False),
                (HOST, "of an entry that is none", (0, 2, 1), (0, 0, 0, 0), one.at, GENERAL, (), False),
                (HOST | DEVICE, "of an entry that is to be read alone", (PERMIT | READONLY, 2, 1), (0, 0, 0, 0), one.at, GENERAL, (), False),
                (HOST | DEVICE | READ, "of an entry with 254 readers", (PERMIT | READING, 2, 1), (1, 2, 254, 0), one.at, GENERAL, (), False),
                (HOST | DEVICE, "of an entry with 254 writers", (PERMIT | READING | WRITING, 2, 1), (1, 2, 0, 254), one.at, GENERAL, (), False),
                (DEVICE, "when no handle is left", (PERMIT, 2, 1), (0, 0, 0, 0), 0, NO_SPACE, (), True),
                (HOST | READ, "and pv_grant_put() fails", (PERMIT, 2, 1), (0, 0, 0, 0), one.at, GENERAL, [("pv_grant_put", lambda regs: EINVAL)], False),
                (HOST | DEVICE, "and pv_grant_put() fails", (PERMIT, 2, 1), (0, 0, 0, 0), one.at, GENERAL, [("pv_grant_put", lambda regs: EINVAL)], False),
                (HOST | DEVICE, "of an entry with a writer, and pv_grant_put() fails", (PERMIT | READING | WRITING, 2, 1), (1, 2, 0, 1), one.at, GENERAL,
                 [("pv_grant_put", lambda regs: EINVAL)], False)):
            frame, was = one.mfn[1], one.snapshot()
            one.put(entry(*first[:2], frame), (frame if active[0] else 0, *active[1:]))
            if empty:
                client.write(one.by.at + G_HANDLES, full)
            before = one.state() if not empty else None
            got, handle, bus = Request(one, flags).ask(at, [*instead, *GivesBack(one).instead])
            who = f"{Request(one, flags).words()} {words}"
            t.check(got == status, f"{who}: its status is something else", status, got)
            t.check((handle, bus) == (0xABCD, 0x5678), f"{who}: it has filled in something else, and is refused", "nothing", f"handle {handle:x}, bus address {bus:x}")
            if empty:
                client.write(one.by.at + G_HANDLES, was[one.by.at][G_HANDLES:G_HANDLES + 8])
                before = one.state()
                t.check(before[ENTRY] == entry(*first[:2], frame).hex() and before[ACTIVE][2:] == (0, 0), f"{who}: something else stands in the entry, or it is in use",
                        "nobody uses it", (before[ENTRY], before[ACTIVE]))
            else:
                after = one.of.active(REF)
                one.same(who, before, {} if active[0] or after[2:] != (0, 0) else {ACTIVE: after})
            one.restore(was)

    two(t, look)


# -- 8.3: one use less -----------------------------------------------------------------------------------


def with_counts(one, mfn, refs, type_refs):
    """A frame that is used so often."""
    one.client.write(one.frames + F_SIZE * mfn + F_REFS, struct.pack("<I", refs))
    one.client.write(one.frames + F_SIZE * mfn + F_TYPE_REFS, struct.pack("<I", type_refs))


def releases(t):
    """pv_grant_release() by itself: of a granter that lives, and of one that has ended."""
    def look(one):
        mfn, freed = one.mfn[1], []
        instead = [("pv_orphan_free", lambda regs: freed.append(regs["rdi"]))]
        for readers, writers, writes in ((1, 0, False), (2, 0, False), (0, 1, True), (0, 2, True), (1, 1, False), (1, 1, True), (255, 255, True), (255, 255, False)):
            was = one.snapshot()
            one.put(entry(PERMIT | 0x4020 | READING | (WRITING if writers else 0), 2, mfn), (mfn, 2, readers, writers))
            with_counts(one, mfn, 1 + readers, writers)
            before = one.state()
            invoke(t, one.client, one.stack, "pv_grant_release", one.of.at, REF, mfn, writes, instead=instead)
            left = readers - (not writes), writers - writes
            who = f"pv_grant_release() of one of {readers} readers and {writers} writers, to {'write' if writes else 'read'}"
            flags = PERMIT | 0x4020 | (READING if any(left) else 0) | (WRITING if left[1] else 0)
            one.same(who, before, {ENTRY: entry(flags, 2, mfn).hex(), ACTIVE: (mfn, 2, *left), counts(mfn): (1 + left[0], left[1])})
            t.check(not freed, f"{who}: the frame is freed, and its domain lives", "it is counted", "pv_orphan_free()")
            one.restore(was)
        for refs, type_refs, writes in ((1, 0, False), (2, 0, False), (1, 1, False), (0, 1, True), (0, 2, True), (1, 1, True), (3, 2, True), (3, 2, False)):
            was = one.snapshot()
            one.put(entry(PERMIT | READING | WRITING, 2, mfn), (mfn, 2, 1, 1))
            with_counts(one, mfn, refs, type_refs)
            before, freed[:] = one.state(), []
            invoke(t, one.client, one.stack, "pv_grant_release", 0, REF, mfn, writes, instead=instead)
            left = refs - (not writes), type_refs - writes
            who = f"pv_grant_release() where the granter has ended, to {'write' if writes else 'read'}, of a frame with refs {refs} and type_refs {type_refs}"
            one.same(who, before, {counts(mfn): left})
            t.check(freed == ([] if any(left) else [mfn]), f"{who}: something else is freed", "nothing" if any(left) else f"{mfn:x}", freed or "nothing")
            one.restore(was)

    two(t, look)


# -- 8.4: a look -----------------------------------------------------------------------------------------


def looks(one):
    """pv_grant_look() in all states: nothing is written."""
    for who, _, before, _, _ in asked(one, "pv_grant_look", "at", 0):
        one.same(who, before)
