"""Lab 8: grant tables.

Equivalent: fresh guests, of which a model in Python knows what each request answers and what the two bits of an entry say.
Witnessed: handles, active entries, frames' counts and bytes as they lie in the machine's memory, counted once more here
(lab8books.py); functions by themselves (lab8alone.py, lab8steps.py); and entries that are others behind each access (lab8races.py).
"""

import re
import struct

from zeno.guests import pvgranted, pvgrantpairs
from zeno.guests.pvgrants import DEVICE, PAGES, PERMIT, READ, READING, WRITING
from zeno.judging import evidence, headers

from . import lab8alone, lab8races, lab8steps
from .guests import module, restore
from .lab4 import return_with, said, word
from .lab5 import LIMITS
from .lab6a import Enough, prints, watched
from .lab6b import GUEST
from .lab8books import G_HANDLE, G_HANDLES, H_FLAGS, H_MFN, H_OWNER, H_PER, H_SIZE, OWNER_HOST, Grants, mfns, record

HANDLE_FRAMES, OWNERS = headers.numbers(("vmm/pv/grant/grant.h",), ("PV_HANDLE_FRAMES", "PV_GRANT_OWNERS"))
FEW = 3


def at_the_end(t, program, look):
    """Somebody looks when the guest has done all."""
    seen = []

    def see(client, _regs):
        look(client)
        seen.append(True)
        raise Enough

    watched(t, program, {lambda p: p.at("finished"): see})
    t.check(seen, "the guest does not come to its end", "it powers off", "it does not")


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


# -- 8.2: claim and map ------------------------------------------------------------------------------


def claims(t):
    """While the entries change."""
    prints(t, pvgranted.claims(t.rng, 40), "claims", "a guest that changes its entries while they are in use")


# -- 8.3: unmap, handles, counts ---------------------------------------------------------------------


def handles(t):
    """Each answer."""
    prints(t, pvgranted.handles(t.rng, 50), "handles", "a guest that ends mappings by right and by wrong handles and addresses")


def recounted(t):
    """All that Zeno keeps."""
    program, who = pvgranted.handles(t.rng, 60), "a guest that has mapped and unmapped"

    def look(client):
        model = program.model
        grants, at = compare_active(t, client, program, who)
        wanted = sorted((one.flags & 7, one.ref, at[one.frame], 1) for one in model.slots.values())
        got = grants.handles()
        t.check(wanted == got, f"{who}: its handles are others in memory (flags, entry, frame, granter)",
                [one for one in wanted if one not in got], [one for one in got if one not in wanted])
        for n in range(PAGES):
            uses = [one for one in model.slots.values() if one.frame == n]
            there = [reads for frame, reads in model.mapped() if frame == n]
            wanted = (1 + sum(one.parts() for one in uses if one.flags & READ) + sum(there),
                      1 + sum(one.parts() for one in uses if not one.flags & READ) + len(there) - sum(there))
            one = record(t, client, at[n])
            t.check((one.refs, one.type_refs) == wanted, f"{who}: frame {at[n]:x} is counted otherwise than it is used (to read, to write)", wanted,
                    (one.refs, one.type_refs))

    at_the_end(t, program, look)
    lab8steps.releases(t)


# -- 8.4: copy ---------------------------------------------------------------------------------------


def copies(t):
    """Each answer, in one domain, and between two."""
    prints(t, pvgranted.copies(t.rng, 30)[0], "copies", "a guest that copies between frames and grants of all kinds")
    programs = pvgrantpairs.copying(t.rng)
    elves = [one.assemble(t.directory, name) for one, name in zip(programs, ("granter", "copier"))]
    run = t.boot("panic=off -- start granter &; sleep 20; start copier; off", modules=[module(elf) for elf in elves], elf=elves, limits=LIMITS, icount=True)
    lives = {one.name: one for one in evidence.lives(run)}
    got = lives["copier"].output.decode("ascii", "replace").split() if "copier" in lives else []
    for i, line in enumerate(programs[1].wanted()):
        who = "a guest that copies what another one grants"
        t.check(i < len(got), f"{who} gets no further: nothing comes {programs[1].place(i)}", line, "\n".join([*got[-3:], said(run, "start copier")]))
        t.check(line in (got[i], "?"), f"{who} finds something else, {programs[1].place(i)}", line, got[i])
    t.orderly(run)


def bytes_copied(t):
    """All of its pages."""
    program, pages = pvgranted.copies(t.rng, 60)

    def look(client):
        for n, mfn in enumerate(mfns(client, program)[:PAGES]):
            got = client.read(mfn << 12, 4096, physical=True)
            first = next((i for i in range(4096) if got[i] != pages[n][i]), None)
            t.check(first is None, f"a guest that copies: page {n} has other bytes from {first} on", pages[n][first or 0:][:16].hex(),
                    got[first or 0:][:16].hex())

    at_the_end(t, program, look)

    def alone(one):
        lab8steps.looks(one)
        lab8races.looks(one)

    lab8alone.two(t, alone)


# -- 8.5: a domain ends ------------------------------------------------------------------------------


def returns(t, client, regs):
    """From this function's first instruction up to behind its end: (the registers, how often others could have run meanwhile, up to FEW)."""
    back, point, lets = word(client, regs["rsp"]), t.symbol("preempt_point"), 0
    for at in (back, point):
        client.insert(at)
    while True:
        client.cont()
        now = client.regs()
        if now["rip"] == back:
            break
        lets += 1
        return_with(client, now, 0)
        if lets == FEW:
            client.remove(point)
    client.remove(back)
    if lets < FEW:
        client.remove(point)
    return now, lets


class Sixteenth:
    """As if there were a domain with the last number, which has all the handles that there can be: in each page of them three are in use."""

    OWNERS_OF = {0: 2, 7: 1, H_PER - 1: 2}

    def __init__(self, t, client, regs, mfn):
        self.t, self.client, self.at = t, client, t.symbol("pv_grants_of") + 8 * (OWNERS - 1)
        stack = (regs["rsp"] - 0x1000) & ~15
        self.page, self.handles = (lab8alone.page(t, client, stack) for _ in range(2))
        restore(client, regs)
        client.write(self.page, struct.pack("<HH", OWNERS - 1, OWNERS - 1))
        client.write(self.page + G_HANDLES, struct.pack("<I", HANDLE_FRAMES * H_PER))
        client.write(self.page + G_HANDLE, struct.pack("<Q", self.handles) * HANDLE_FRAMES)
        for n, owner in self.OWNERS_OF.items():
            at = self.handles + H_SIZE * n
            for place, value, kind in ((H_FLAGS, DEVICE | READ, "I"), (H_MFN, mfn, "I"), (H_OWNER, owner, "H")):
                client.write(at + place, struct.pack(f"<{kind}", value))
        client.write(self.at, struct.pack("<Q", self.page))

    def over(self, regs):
        """It is gone: {which handle: the granter that it says}."""
        client = self.client
        found = {n: struct.unpack("<H", client.read(self.handles + H_SIZE * n + H_OWNER, 2))[0] for n in self.OWNERS_OF}
        client.write(self.at, bytes(8))
        for page in (self.page, self.handles):
            lab8alone.give_back(self.t, client, (regs["rsp"] - 0x1000) & ~15, page)
        restore(client, regs)
        return found


def together(t, user_ends, name, look):
    """Two domains, or three, and who looks at `name`, as soon as it is called for domain 2; (the run, the guests)."""
    guests, left = pvgrantpairs.pair(t.rng, user_ends)
    guests.append(pvgrantpairs.short(t.rng))  # the domain that was started last is freed when the next one starts
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


def many(t, client, regs):
    """It ends once more, as if it had had all handles that there can be: others run meanwhile."""
    grants = Grants(t, client, 2)
    first = word(client, grants.at + G_HANDLE)
    client.write(grants.at + G_HANDLES, struct.pack("<I", HANDLE_FRAMES * H_PER))
    client.write(grants.at + G_HANDLE, struct.pack("<Q", first) * HANDLE_FRAMES)
    stack = (regs["rsp"] - 0x1000) & ~15
    client.write(stack, struct.pack("<Q", t.symbol("monitor_run")))
    for register, value in (("rsp", stack), ("rdi", grants.at), ("rip", t.symbol("pv_grants_unmap_all"))):
        client.set_reg(register, value)
    _, lets = returns(t, client, client.regs())
    t.check(lets == FEW, f"a domain ends that had {HANDLE_FRAMES * H_PER} handles: meanwhile nobody else could run", f"{FEW} times or more", lets)


def user_ends(t):
    """All that it has mapped is given back."""
    def look(client, regs, guests, left):
        at = [frame for frame, *_ in (Grants(t, client, 1).active(pvgrantpairs.FIRST + n) for n in range(PAGES))]
        before = {mfn: record(t, client, mfn) for mfn in at}
        uses = {n: [(flags & 1) + (flags >> 1 & 1) for _, ref, flags, _ in left if ref == pvgrantpairs.FIRST + n] for n in range(PAGES)}
        reads = {n: sum((flags & 1) + (flags >> 1 & 1) for _, ref, flags, _ in left if ref == pvgrantpairs.FIRST + n and flags & READ) for n in range(PAGES)}
        back, _ = returns(t, client, regs)
        who = "a domain that ends with grants mapped"
        got = Grants(t, client, 2).handles()
        t.check(not got, f"{who}: it has mappings still (flags, entry, frame, granter)", "none", got)
        granter = Grants(t, client, 1)
        for ref, one in granter.used().items():
            t.fail(f"{who}: entry {ref} of its granter's is in use still (frame, user, readers, writers)", "nobody uses it", one)
        for n in range(PAGES):
            bits = client.read(granter.entry_at(pvgrantpairs.FIRST + n), 1)[0]
            t.check(not bits & (READING | WRITING), f"{who}: entry {pvgrantpairs.FIRST + n} of its granter's says that it is in use", f"{PERMIT:x}", f"{bits:x}")
            now = record(t, client, at[n]) if uses[n] else None
            wanted = before[at[n]].refs - reads[n], before[at[n]].type_refs - (sum(uses[n]) - reads[n])
            t.check(not now or (now.refs, now.type_refs) == wanted, f"{who}: frame {at[n]:x} is counted as used otherwise than it is (to read, to write)",
                    wanted, now and (now.refs, now.type_refs))
        many(t, client, back)
        raise Enough

    together(t, True, "pv_grants_unmap_all", look)


def granter_ends(t):
    """Its frames stay for who uses them, and are nobody else's; then they are free."""
    def look(client, regs, guests, left):
        who = "a granter that ends"
        before = Grants(t, client, 1).handles()
        mine = sorted({mfn for *_, mfn, owner in before if owner == 2})
        books = {mfn: record(t, client, mfn) for mfn in mine}
        own = Grants(t, client, 2)
        its_own = own.handle_at(0) if own.count else 0
        was = client.read(its_own, H_SIZE) if its_own else b""
        if its_own:  # what it has mapped itself of its own: here as if it were so still
            client.write(its_own + H_FLAGS, struct.pack("<I", DEVICE | READ))
            client.write(its_own + H_MFN, struct.pack("<I", mine[0]))
            client.write(its_own + H_OWNER, struct.pack("<H", 2))
        sixteenth = Sixteenth(t, client, regs, mine[0])
        now, lets = returns(t, client, regs)
        last = sixteenth.over(now)
        t.check(last == {n: 0 if owner == 2 else owner for n, owner in Sixteenth.OWNERS_OF.items()},
                f"{who}: mappings of domain {OWNERS - 1} say something else (handle: granter)", "0 where it was 2", last)
        t.check(lets == FEW, f"{who}, and another domain has {HANDLE_FRAMES * H_PER} handles: meanwhile nobody else could run", f"{FEW} times or more", lets)
        if its_own:
            owner, = struct.unpack("<H", client.read(its_own + H_OWNER, 2))
            client.write(its_own, was)
            t.check(not owner, f"{who}: a mapping of its own says something else (its granter)", 0, owner)
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
