"""Lab 8: entries that are others behind each access that a function makes to them, or behind an instruction of its."""

import struct

from zeno.guests.pvgrants import GENERAL, BAD_PAGE, OKAY, PERMIT, READING, READONLY, ROOT, WRITING

from .lab4 import word
from .lab8alone import ACTIVE, ENTRY, REF, counts, entry, signed, two

EAGAIN = -12
MANY = 60
"""Accesses to one entry, behind which a function is one that does not come back."""
LONGEST = 2000
"""Instructions that a function has, at most."""


class Racing:
    """A function that is called while its entry changes."""

    def __init__(self, one):
        self.one, self.t, self.client = one, one.t, one.client
        self.steps, self.seen, self.old = False, 0, False
        """The entry changes behind an instruction, and not behind an access; of the last act, how many there were, and that it was of the old
        entry."""

    def place(self, behind):
        """In words."""
        return f"behind {'instruction' if self.steps else 'access'} {behind}"

    def call(self, name, args, changes, behind=0):
        """(what it returns, how many accesses or instructions there were); `changes(n)`: what stands there behind access n, or None."""
        client, back, stack = self.client, self.t.symbol("monitor_run"), self.one.stack - 0x400
        client.write(stack - 8, struct.pack("<2Q", back, 0))
        for register, value in zip(("rsp", "rip", "rdi", "rsi", "rdx", "rcx", "r8"), (stack - 8, self.t.symbol(name), *args)):
            client.set_reg(register, value)
        seen = self.by_steps(back, changes, behind) if self.steps else self.by_accesses(back, changes)
        now = client.regs()
        self.t.check(now["rip"] == back, f"{name}(), whose entry is another one meanwhile, does not come back: it gets no further", f"rip {back:x}",
                     f"rip {now['rip']:x}, after {seen} {'instructions' if self.steps else 'accesses to the entry'}")
        return signed(now["rax"]), seen

    def by_accesses(self, back, changes):
        """To its end, and how many accesses there were."""
        client, seen = self.client, 0
        client.insert(back)
        client.watch(self.one.entry, 8, "access")
        for _ in range(MANY):
            client.cont()
            if client.regs()["rip"] == back:
                break
            seen += 1
            if changes(seen):
                client.write(self.one.entry, changes(seen))
        client.unwatch()
        client.remove(back)
        return seen

    def by_steps(self, back, changes, behind):
        """To its end, and how many instructions of it there were, up to the one behind which the entry is another one (0: none)."""
        client, seen = self.client, 0
        while seen < behind and client.regs()["rip"] != back:
            client.step()
            seen += 1
        if client.regs()["rip"] != back:
            if behind:
                client.write(self.one.entry, changes(behind))
            client.insert(back)
            client.cont()
            client.remove(back)
        return seen

    def use(self, name, writes, changes, behind=0):
        """(status, frame, how many accesses or instructions there were) of a claim or a look."""
        one = self.one
        status, seen = self.call(name, (one.of.at, REF, one.by.at, writes, one.stack), changes, behind)
        return status, word(self.client, one.stack) if not status else None, seen

    def judged(self, raw, writes):
        """(status, frame) of this entry by itself."""
        flags, dom, mfn = struct.unpack("<HHI", raw)
        if flags & 0x103 != PERMIT or dom != 2 or writes and flags & READONLY:
            return GENERAL, None
        return (OKAY, mfn) if self.one.fits(mfn, writes) else (BAD_PAGE, None)

    def changed_once(self, name, writes, first, second, behind, words):
        """Such a use; whether the change came in time."""
        one, t, claims = self.one, self.t, name == "pv_grant_claim"
        was = one.snapshot()
        one.put(first)
        before = one.state()
        status, mfn, seen = self.use(name, writes, lambda n: second if n == behind else None, behind)
        self.seen, self.old = seen, mfn == struct.unpack_from("<I", first, 4)[0]
        now, bits = self.client.read(one.entry, 8), (READING | (WRITING if writes else 0)) if claims else 0
        marked = struct.pack("<H", struct.unpack_from("<H", second)[0] | bits) + second[2:]
        who = f"{name}() to {'write' if writes else 'read'}, and {self.place(behind)} the entry {words}"
        if seen >= behind:
            got, text = (status, mfn), f"status {status}, frame {mfn and f'{mfn:x}'}, entry {now.hex()}"
            either = [self.judged(first, writes), self.judged(second, writes)]
            t.check(got in either, f"{who}: what is used is not what was granted at one moment", either, text)
            t.check(not status or now == second, f"{who}: it is refused, and the entry is not what the granter has written", second.hex(), text)
            t.check(status or (now == second and got == either[0]) or (now == marked and got == either[1]),
                    f"{who}: what is used is not what was granted at one moment",
                    f"as the first one says ({first.hex()}), and the second stays as it is; or as the second ({marked.hex()})", text)
        changes = {ENTRY: now.hex(), ACTIVE: one.of.active(REF)}
        if claims and not status:
            refs = before[counts(mfn)]
            changes |= {ACTIVE: (mfn, 2, 0 if writes else 1, int(writes)), counts(mfn): (refs[0] + (not writes), refs[1] + writes)}
        t.check(changes[ACTIVE][2:] == (0, 0) or claims and not status, f"{who}: somebody uses it behind it", (0, 0), changes[ACTIVE][2:])
        one.same(who, before, changes)
        one.restore(was)
        return seen >= behind

    def once(self, name):
        """Each change, behind each access."""
        mfn = self.one.mfn
        good = entry(PERMIT, 2, mfn[1])
        others = {"is of another frame": (PERMIT, 2, mfn[2]), "is granted to another": (PERMIT, 3, mfn[3]), "is none": (0, 2, mfn[3]),
                  "is to be read alone": (PERMIT | READONLY, 2, mfn[1]), "is of a frame that is not its own": (PERMIT, 2, self.one.theirs[0]),
                  "is of its page table": (PERMIT, 2, mfn[ROOT]), "has another bit that says nothing": (PERMIT | 0x40, 2, mfn[1])}
        for words, other in others.items():
            for writes in (False, True):
                for first, second, what in ((good, entry(*other), words), (entry(*other), good, words + " no more")):
                    behind = 1
                    while self.changed_once(name, writes, first, second, behind, what) and behind < 12:
                        behind += 1

    def always(self):
        """One that grants, and is another one each time."""
        one, mfn = self.one, self.one.mfn
        for writes in (False, True):
            was = one.snapshot()
            one.put(entry(PERMIT, 2, mfn[1]))
            before = one.state()
            status, _, _ = self.use("pv_grant_claim", writes, lambda n: entry(PERMIT | (n % 2) << 6, 2, mfn[1]))
            who = f"pv_grant_claim() to {'write' if writes else 'read'} of an entry that is another one behind each access"
            self.t.check(status == EAGAIN, f"{who}: its status is something else", EAGAIN, status)
            one.same(who, before, {ENTRY: self.client.read(one.entry, 8).hex(), ACTIVE: one.of.active(REF)})
            one.restore(was)

    def unmarked(self, readers, writers, behind):
        """pv_grant_unmark(), and behind this access the granter writes into its entry; whether that came in time."""
        one, t = self.one, self.t
        mine = PERMIT | READING | WRITING | 0x20
        first, second = entry(mine, 2, one.mfn[1]), entry(mine | READONLY | 0x4000, 3, one.mfn[2])
        over = (0 if writers else WRITING) | (0 if readers or writers else READING)
        one.put(first, (one.mfn[1], 2, readers, writers))
        _, seen = self.call("pv_grant_unmark", (one.of.at, REF, one.active), lambda n: second if n == behind else None, behind)
        now = self.client.read(one.entry, 8)
        self.seen, self.old = seen, now == second
        # It may be done in one step or in two: each of the bits is taken back, or was written behind that.
        without = [struct.pack("<H", struct.unpack_from("<H", raw)[0] & ~bits) + raw[2:]
                   for raw, bits in ((first, over), (second, over), (second, over & READING), (second, over & WRITING), (second, 0))]
        who = f"pv_grant_unmark() with {readers} readers and {writers} writers"
        if seen < behind:
            t.check(now == without[0], f"{who}: something else stands in the entry behind it", without[0].hex(), now.hex())
        else:
            t.check(now in without[1:], f"{who}, and {self.place(behind)} the granter writes another entry: what it has written is lost",
                    f"{without[1].hex()}, or as it was written", now.hex())
        return seen >= behind


    def moments(self, *acts):
        """
        The debugger sees accesses by one address, and the entry's frame may have others. So here it changes behind an instruction: up to one
        it is the new entry that is used, or has its bits back, and from there on the old one. What is neither, in between, halving finds.
        """
        self.steps = True
        for act in acts:
            early = 0
            act(LONGEST)
            late = self.seen
            self.t.check(late < LONGEST, "a use, or its end, takes more instructions than there is reason for", f"fewer than {LONGEST}", late)
            while late - early > 1:
                middle = (early + late) // 2
                act(middle)
                early, late = (early, middle) if self.old else (middle, late)
        self.steps = False

    def uses(self, name):
        """Acts of this function's, to read and to write."""
        first, second = (entry(PERMIT, 2, self.one.mfn[n]) for n in (1, 2))
        return [lambda behind, writes=writes: self.changed_once(name, writes, first, second, behind, "is of another frame") for writes in (False, True)]


def between(t):
    """A claim, and what takes its marks back."""
    def look(one):
        racing = Racing(one)
        racing.once("pv_grant_claim")
        racing.always()
        was = one.snapshot()
        racing.moments(*racing.uses("pv_grant_claim"), *(lambda behind, left=left: racing.unmarked(*left, behind) for left in ((0, 0), (1, 0))))
        for readers, writers in ((0, 0), (1, 0), (0, 1), (1, 1), (255, 0), (0, 255), (2, 254)):
            behind = 1
            while racing.unmarked(readers, writers, behind) and behind < 12:
                behind += 1
        one.restore(was)

    two(t, look)


def looks(one):
    """pv_grant_look() of such entries."""
    racing = Racing(one)
    racing.once("pv_grant_look")
    racing.moments(*racing.uses("pv_grant_look"))
