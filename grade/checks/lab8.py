"""Lab 8: grant tables.

Equivalent: fresh guests, of which a model in Python knows what each request answers and what the two bits of an entry say.
Witnessed: handles, active entries, frames' counts and bytes as they lie in the machine's memory, counted once more here; and an
entry that is another one behind each access that a claim makes to it.
"""

import re
import struct

from zeno.guests import pvgrants
from zeno.guests.pvgrants import DEVICE, HOST, PAGES, PER_FRAME, PERMIT, READ, READING, READONLY, WRITING
from zeno.judging import evidence, headers

from .guests import module, restore
from .lab4 import said, word
from .lab5 import LIMITS
from .lab6a import Enough, prints, watched
from .lab6b import F_SIZE, GUEST, Record

HEADERS = ("vmm/pv/grant/grant.h", "vmm/domain.h")
(G_TABLE, G_HANDLES, G_ACTIVE, G_HANDLE, T_FRAME, A_SIZE, A_MFN, A_USER, A_READERS, A_WRITERS, H_SIZE, H_FLAGS, H_REF, H_MFN, H_OWNER, H_PER,
 FRAMES, OWNER_HOST) = headers.numbers(HEADERS, (
     *(f"offsetof(struct pv_grants, {name})" for name in ("table", "handles", "active", "handle")), "offsetof(struct pv_grant_table, frame)",
     "sizeof(struct pv_active)", *(f"offsetof(struct pv_active, {name})" for name in ("mfn", "user", "readers", "writers")),
     "sizeof(struct pv_handle)", *(f"offsetof(struct pv_handle, {name})" for name in ("flags", "ref", "mfn", "owner")), "PV_FRAME_HANDLES",
     "PV_GRANT_FRAMES", "OWNER_HOST"))
PARTS = HOST | DEVICE
LONGEST = 2000
"""Instructions that a claim has, at most."""


class Grants:
    """A domain's, as they lie in memory."""

    def __init__(self, t, client, number):
        self.t, self.client = t, client
        self.at = word(client, t.symbol("pv_grants_of") + 8 * number)
        self.pages = struct.unpack(f"<{FRAMES}Q", client.read(self.at + G_ACTIVE, 8 * FRAMES))
        self.count, = struct.unpack("<I", client.read(self.at + G_HANDLES, 4))

    def active(self, ref):
        """(frame, user, readers, writers)"""
        page = self.pages[ref // PER_FRAME]
        self.t.check(page, f"entry {ref} has been used, and Zeno keeps nothing of it", "a page for such entries", "none")
        raw = self.client.read(page + A_SIZE * (ref % PER_FRAME), A_SIZE)
        return (*struct.unpack_from("<I", raw, A_MFN), *struct.unpack_from("<H", raw, A_USER), raw[A_READERS], raw[A_WRITERS])

    def used(self):
        """{ref: (frame, user, readers, writers)} of those that somebody uses."""
        found = {}
        for n, page in enumerate(self.pages):
            raw = self.client.read(page, A_SIZE * PER_FRAME) if page else b""
            for i in range(0, len(raw), A_SIZE):
                if raw[i + A_READERS] or raw[i + A_WRITERS]:
                    ref = n * PER_FRAME + i // A_SIZE
                    found[ref] = (*struct.unpack_from("<I", raw, i + A_MFN), *struct.unpack_from("<H", raw, i + A_USER), raw[i + A_READERS],
                                  raw[i + A_WRITERS])
        return found

    def entry_at(self, ref):
        """Where it lies."""
        return word(self.client, word(self.client, self.at + G_TABLE) + T_FRAME + 8 * (ref // PER_FRAME)) + 8 * (ref % PER_FRAME)

    def handles(self):
        """[(flags, ref, frame, owner)] of those that have something mapped, sorted."""
        found = []
        for n in range(self.count // H_PER):
            raw = self.client.read(word(self.client, self.at + G_HANDLE + 8 * n), H_SIZE * H_PER)
            for i in range(0, len(raw), H_SIZE):
                flags, ref, mfn = (struct.unpack_from("<I", raw, i + at)[0] for at in (H_FLAGS, H_REF, H_MFN))
                if flags:
                    found.append((flags & (PARTS | READ), ref, mfn, *struct.unpack_from("<H", raw, i + H_OWNER)))
        return sorted(found)


def record(t, client, mfn):
    """A frame of Zeno's books."""
    count = word(client, t.symbol("frame_count"))
    t.check(mfn < count, "Zeno keeps a frame as used that is none", f"one of {count}", f"{mfn:x}")
    return Record(client.read(word(client, t.symbol("frames")) + F_SIZE * mfn, F_SIZE), 0)


def mfns(client, program):
    """Of its pages, as the guest has found them."""
    return struct.unpack(f"<{PAGES + 2}Q", client.read(program.at("mfns"), 8 * (PAGES + 2)))


def at_the_end(t, program, look):
    """Somebody looks when the guest has done all."""
    seen = []

    def see(client, _regs):
        look(client)
        seen.append(True)
        raise Enough

    watched(t, program, {lambda p: p.at("finished"): see})
    t.check(seen, "the guest does not come to its end", "it powers off", "it does not")


# -- 8.1: lookup and validation ----------------------------------------------------------------------


def entries(t):
    """Each kind."""
    prints(t, pvgrants.entries(t.rng, 30), "entries", "a guest that grants by entries of all kinds")


def compare_active(t, client, program, who):
    """Those that are in use are those that the model has."""
    at, grants = mfns(client, program), Grants(t, client, program.model.number)
    wanted = {ref: (at[frame], program.model.number, readers, writers)
              for ref, (frame, readers, writers) in program.model.active.items() if readers or writers}
    got = grants.used()
    for ref in sorted({*wanted, *got}):
        t.check(wanted.get(ref) == got.get(ref), f"{who}: of entry {ref} Zeno keeps something else (its frame, user, readers, writers)",
                wanted.get(ref, "it is not in use"), got.get(ref, "it is not in use"))
    return grants, at


def long_table(t):
    """Each in its own place."""
    program = pvgrants.long_table(t.rng)
    at_the_end(t, program, lambda client: compare_active(t, client, program, "a table of three frames"))


# -- 8.2: claim and map ------------------------------------------------------------------------------


def claims(t):
    """While the entries change."""
    prints(t, pvgrants.claims(t.rng, 50), "claims", "a guest that changes its entries while they are in use")


class Claimer:
    """Calls pv_grant_claim() where the machine stands, and changes the entry behind one of its accesses."""

    def __init__(self, t, client, regs, program):
        self.t, self.client, self.regs, self.ref = t, client, regs, 100
        self.grants, self.mfn = Grants(t, client, 1), mfns(client, program)
        self.entry = self.grants.entry_at(self.ref)
        self.stack = (regs["rsp"] - 0x800) & ~15
        self.grants.active(self.ref)
        self.active = self.grants.pages[0] + A_SIZE * self.ref
        self.steps, self.seen, self.old = False, 0, False
        """The entry changes behind an instruction, and not behind an access; of the last act, how many there were, and that it was of the old
        entry."""

    def call(self, name, args, second, behind):
        """(what it returns, how many accesses or instructions there were): behind this one of them the entry is another one."""
        t, client, back = self.t, self.client, self.t.symbol("monitor_run")
        client.write(self.stack - 8, struct.pack("<2Q", back, 0))
        for register, value in zip(("rsp", "rip", "rdi", "rsi", "rdx", "rcx", "r8"), (self.stack - 8, t.symbol(name), *args)):
            client.set_reg(register, value)
        seen = (self.by_steps if self.steps else self.by_accesses)(back, second, behind)
        now = client.regs()
        t.check(now["rip"] == back, f"{name}() does not come back", f"rip {back:x}",
                f"rip {now['rip']:x}, after {seen} {'instructions' if self.steps else 'accesses to the entry'}")
        return struct.unpack("<i", struct.pack("<I", now["rax"] & 0xFFFFFFFF))[0], seen

    def by_accesses(self, back, second, behind):
        """To its end, and how many accesses there were."""
        client, seen = self.client, 0
        client.insert(back)
        client.watch(self.entry, 8, "access")
        for _ in range(60):
            client.cont()
            if client.regs()["rip"] == back:
                break
            seen += 1
            if seen == behind:
                client.write(self.entry, second)
        client.unwatch()
        client.remove(back)
        return seen

    def by_steps(self, back, second, behind):
        """To its end, and how many instructions of it there were, up to the one behind which the entry is another one (0: none)."""
        client, seen = self.client, 0
        while seen < behind and client.regs()["rip"] != back:
            client.step()
            seen += 1
        if client.regs()["rip"] != back:
            if behind:
                client.write(self.entry, second)
            client.insert(back)
            client.cont()
            client.remove(back)
        return seen

    def claim(self, writes, second, behind):
        """(status, frame, how many accesses there were)."""
        status, seen = self.call("pv_grant_claim", (self.grants.at, self.ref, self.grants.at, writes, self.stack), second, behind)
        return status, word(self.client, self.stack), seen

    def release(self, writes, behind):
        """A use that is over, and the granter writes into its entry meanwhile; whether that came in time."""
        first = struct.pack("<HHI", PERMIT | READING | (WRITING if writes else 0), 1, self.mfn[1])
        second = struct.pack("<HHI", PERMIT | READONLY | READING | WRITING | 0x20, 1, self.mfn[2])
        self.client.write(self.active, bytes(A_SIZE))
        self.client.write(self.entry, struct.pack("<HHI", PERMIT, 1, self.mfn[1]))
        self.claim(writes, second, 0)
        self.client.write(self.entry, first)
        _, seen = self.call("pv_grant_release", (self.grants.at, self.ref, self.mfn[1], writes), second, behind)
        now, without = self.client.read(self.entry, 8), struct.pack("<H", PERMIT | READONLY | 0x20) + second[2:]
        self.seen, self.old = seen, now == second
        self.t.check(seen < behind or now in (second, without), f"a use to {'write' if writes else 'read'} is over, and behind "
                     f"{'instruction' if self.steps else 'access'} {behind} the granter writes another entry: what it has written is lost", f"{without.hex()}, or as it was written", now.hex())
        return seen >= behind

    def allowed(self, entry, writes):
        """What this one grants to d1: the frame; or None."""
        flags, dom, mfn = struct.unpack("<HHI", entry)
        good = flags & 0x103 == PERMIT and dom == 1 and not (writes and flags & READONLY) and mfn in self.mfn[:PAGES]
        return mfn if good else None

    def one(self, writes, first, second, behind, words):
        """Such a claim, and all that it has changed is put right again; whether the change came in time."""
        t, client = self.t, self.client
        who = f"a claim to {'write' if writes else 'read'}, and behind {'instruction' if self.steps else 'access'} {behind} the entry {words}"
        books = {mfn: client.read(word(client, t.symbol("frames")) + F_SIZE * mfn, F_SIZE) for mfn in self.mfn[:PAGES]}
        client.write(self.active, bytes(A_SIZE))
        client.write(self.entry, first)
        status, frame, seen = self.claim(writes, second, behind)
        now, bits = client.read(self.entry, 8), READING | (WRITING if writes else 0)
        marked = struct.pack("<H", struct.unpack_from("<H", second)[0] | bits) + second[2:]
        if seen >= behind:
            old, new = self.allowed(first, writes), self.allowed(second, writes)
            text = f"status {status}, frame {frame:x}, entry {now.hex()}"
            t.check(not status or now == second, f"{who}: it is refused, and the entry is not what the granter has written", second.hex(), text)
            t.check(status or (now == second and frame == old) or (now == marked and frame == new),
                    f"{who}: what is used is not what was granted at one moment",
                    f"as the first one says ({first.hex()}, frame {old}), and the second stays as it is; or as the second ({marked.hex()}, {new})", text)
        got, wanted = self.grants.active(self.ref), (frame, 1, 0 if writes else 1, int(writes))
        t.check(bool(status) or got == wanted, f"{who}: Zeno keeps something else of it (its frame, user, readers, writers)", wanted, got)
        for mfn, raw in books.items():
            before, after = Record(raw, 0), record(t, client, mfn)
            more = int(not status and mfn == frame)
            t.check((after.refs - before.refs, after.type_refs - before.type_refs) == ((0, more) if writes else (more, 0)),
                    f"{who}: frame {mfn:x} is counted otherwise than it is used (to read, to write)", (0, more) if writes else (more, 0),
                    (after.refs - before.refs, after.type_refs - before.type_refs))
            client.write(word(client, t.symbol("frames")) + F_SIZE * mfn, raw)
        self.seen, self.old = seen, frame == self.mfn[1]
        return seen >= behind

    def moments(self, writes):
        """
        The debugger sees accesses by one address, and the entry's frame may have others. So here it changes behind an instruction: up to one
        it is the new entry that is claimed, or has its bits back, and from there on the old one. What is neither, in between, halving finds.
        """
        first, second = (struct.pack("<HHI", PERMIT, 1, self.mfn[n]) for n in (1, 2))
        self.steps = True
        for act in (lambda behind: self.one(writes, first, second, behind, "is of another frame"), lambda behind: self.release(writes, behind)):
            early, late = 0, LONGEST
            act(late)
            late = self.seen
            self.t.check(late < LONGEST, "a claim, or its end, takes more instructions than there is reason for", f"fewer than {LONGEST}", late)
            while late - early > 1:
                middle = (early + late) // 2
                act(middle)
                early, late = (early, middle) if self.old else (middle, late)
        self.steps = False

    def all_of_it(self):
        """Each change, behind each access."""
        good = struct.pack("<HHI", PERMIT, 1, self.mfn[1])
        others = {"is of another frame": (PERMIT, 1, self.mfn[2]), "is granted to another": (PERMIT, 2, self.mfn[3]),
                  "is none": (0, 1, self.mfn[3]), "is to be read alone": (PERMIT | READONLY, 1, self.mfn[1]),
                  "is of a frame that is not its own": (PERMIT, 1, 0x100)}
        for words, (flags, dom, mfn) in others.items():
            other = struct.pack("<HHI", flags, dom, mfn)
            for writes in (False, True):
                for first, second, what in ((good, other, words), (other, good, words + " no more")):
                    behind = 1
                    while self.one(writes, first, second, behind, what) and behind < 12:
                        behind += 1
        for writes in (False, True):
            behind = 1
            while self.release(writes, behind) and behind < 12:
                behind += 1
            self.moments(writes)


def between(t):
    """An entry that is another one behind each access."""
    program, done = pvgrants.waiting(t.rng), []

    def see(client, regs):
        client.monitor("o /b 0x21 0xff")
        Claimer(t, client, regs, program).all_of_it()
        done.append(True)
        raise Enough

    watched(t, program, {"domain_off": see})
    t.check(done, "the guest does not come to its end", "it powers off", "it does not")


# -- 8.3: unmap, handles, counts ---------------------------------------------------------------------


def handles(t):
    """Each answer."""
    prints(t, pvgrants.handles(t.rng, 50), "handles", "a guest that ends mappings by right and by wrong handles and addresses")


def recounted(t):
    """All that Zeno keeps."""
    program, who = pvgrants.handles(t.rng, 60), "a guest that has mapped and unmapped"

    def look(client):
        model = program.model
        grants, at = compare_active(t, client, program, who)
        wanted = sorted((one.flags, one.ref, at[one.frame], 1) for one in model.slots.values())
        got = grants.handles()
        t.check(wanted == got, f"{who}: its handles are others in memory (flags, entry, frame, granter)",
                [one for one in wanted if one not in got], [one for one in got if one not in wanted])
        for n in range(PAGES):
            uses = [one for one in model.slots.values() if one.frame == n]
            there = [reads for frame, reads in model.windows.values() if frame == n]
            wanted = (1 + sum(one.parts() for one in uses if one.flags & READ) + sum(there),
                      1 + sum(one.parts() for one in uses if not one.flags & READ) + len(there) - sum(there))
            one = record(t, client, at[n])
            t.check((one.refs, one.type_refs) == wanted, f"{who}: frame {at[n]:x} is counted otherwise than it is used (to read, to write)", wanted,
                    (one.refs, one.type_refs))

    at_the_end(t, program, look)


# -- 8.4: copy ---------------------------------------------------------------------------------------


def copies(t):
    """Each answer."""
    prints(t, pvgrants.copies(t.rng, 30)[0], "copies", "a guest that copies between frames and grants of all kinds")


def bytes_copied(t):
    """All of its pages."""
    program, pages = pvgrants.copies(t.rng, 60)

    def look(client):
        for n, mfn in enumerate(mfns(client, program)[:PAGES]):
            got = client.read(mfn << 12, 4096, physical=True)
            first = next((i for i in range(4096) if got[i] != pages[n][i]), None)
            t.check(first is None, f"a guest that copies: page {n} has other bytes from {first} on", pages[n][first or 0:][:16].hex(),
                    got[first or 0:][:16].hex())

    at_the_end(t, program, look)


# -- 8.5: a domain ends ------------------------------------------------------------------------------


def returns(client, regs):
    """From this function's first instruction up to behind its end."""
    back = word(client, regs["rsp"])
    client.insert(back)
    client.cont()
    client.remove(back)
    return client.regs()


def together(t, user_ends, name, look):
    """Two domains, or three, and who looks at `name`, as soon as it is called for domain 2; (the run, the guests)."""
    guests, left = pvgrants.pair(t.rng, user_ends)
    guests.append(pvgrants.short(t.rng))  # the domain that was started last is freed when the next one starts
    names = ("granter", "user", "short") if user_ends else ("user", "granter", "third", "short")
    elves = [one.assemble(t.directory, who) for one, who in zip(guests, names)]
    seen = []

    def see(client, regs):
        if regs["rdi"] != Grants(t, client, 2).at:
            return False
        seen.append(True)
        look(client, regs, guests, left)
        return True

    others = "; ".join(f"start {who}" for who in names[1:-1]) + "; sleep 20; start short"
    try:
        run, _ = t.witness(f"panic=off -- start short; frames; start {names[0]} &; {others}; frames; off", {t.symbol(name): see},
                           modules=[module(elf) for elf in elves], limits=LIMITS, icount=True)
    except Enough:
        return None, guests
    t.check(seen, "the second domain does not come to its end with grants mapped", "it powers off", said(run, f"start {names[1]}"))
    return run, guests


def user_ends(t):
    """All that it has mapped is given back."""
    def look(client, regs, guests, left):
        at = [frame for frame, *_ in (Grants(t, client, 1).active(pvgrants.FIRST + n) for n in range(PAGES))]
        before = {mfn: record(t, client, mfn) for mfn in at}
        uses = {n: [(flags & 1) + (flags >> 1 & 1) for _, ref, flags, _ in left if ref == pvgrants.FIRST + n] for n in range(PAGES)}
        reads = {n: sum((flags & 1) + (flags >> 1 & 1) for _, ref, flags, _ in left if ref == pvgrants.FIRST + n and flags & READ) for n in range(PAGES)}
        returns(client, regs)
        who = "a domain that ends with grants mapped"
        got = Grants(t, client, 2).handles()
        t.check(not got, f"{who}: it has mappings still (flags, entry, frame, granter)", "none", got)
        granter = Grants(t, client, 1)
        for ref, one in granter.used().items():
            t.fail(f"{who}: entry {ref} of its granter's is in use still (frame, user, readers, writers)", "nobody uses it", one)
        for n in range(PAGES):
            bits = client.read(granter.entry_at(pvgrants.FIRST + n), 1)[0]
            t.check(not bits & (READING | WRITING), f"{who}: entry {pvgrants.FIRST + n} of its granter's says that it is in use", f"{PERMIT:x}", f"{bits:x}")
            now = record(t, client, at[n]) if uses[n] else None
            wanted = before[at[n]].refs - reads[n], before[at[n]].type_refs - (sum(uses[n]) - reads[n])
            t.check(not now or (now.refs, now.type_refs) == wanted, f"{who}: frame {at[n]:x} is counted as used otherwise than it is (to read, to write)",
                    wanted, now and (now.refs, now.type_refs))
        raise Enough

    together(t, True, "pv_grants_unmap_all", look)


def granter_ends(t):
    """Its frames stay for who uses them, and are nobody else's; then they are free."""
    def look(client, regs, guests, left):
        who = "a granter that ends"
        before = Grants(t, client, 1).handles()
        mine = sorted({mfn for *_, mfn, owner in before if owner == 2})
        books = {mfn: record(t, client, mfn) for mfn in mine}
        now = returns(client, regs)
        wanted = sorted((flags, ref, mfn, 0 if owner == 2 else owner) for flags, ref, mfn, owner in before)
        got = Grants(t, client, 1).handles()
        t.check(got == wanted, f"{who}: another domain's mappings say something else (flags, entry, frame, granter)",
                [one for one in wanted if one not in got], [one for one in got if one not in wanted])
        t.check(now["rax"] & 0xFFFFFFFF == len(mine), f"{who}: so many of its frames somebody uses", len(mine), now["rax"] & 0xFFFFFFFF)
        for mfn in mine:
            one = record(t, client, mfn)
            t.check((one.kind, one.owner, one.refs, one.type_refs) == (GUEST, OWNER_HOST, books[mfn].refs - 1, books[mfn].type_refs),
                    f"{who}: frame {mfn:x}, which another domain has mapped, is not the host's (type, owner, refs, type_refs)",
                    (GUEST, OWNER_HOST, books[mfn].refs - 1, books[mfn].type_refs), (one.kind, one.owner, one.refs, one.type_refs))

    run, guests = together(t, False, "pv_grants_orphan", look)
    lives = {one.name: one for one in evidence.lives(run)}
    for name, program in (("user", guests[0]), ("third", guests[2])):
        got = lives[name].output.decode("ascii", "replace").split() if name in lives else []
        for i, line in enumerate(program.wanted()):
            t.check(i < len(got) and line in (got[i], "?"), f"the {name}, when its granter has ended, finds something else, in line {i + 1} of "
                    f"{len(program.expected)}", line, got[i] if i < len(got) else "it gets no further")
    free = re.findall(r"^ *free +(\d+) frames", said(run, "frames") + run.console.decode("ascii", "replace").replace("\r", ""), re.M)
    t.check(len(free) > 1 and free[0] == free[-1], "frames are lost when domains have ended with grants mapped", free[0] if free else "frames", free[-1:])
    t.orderly(run)
