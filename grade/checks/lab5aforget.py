"""Lab 5A, exercise 5.3: write protection in nested tables, and what must be forgotten for it.

No guest can show a forgotten flush on emulators that flush at each entry. So the grader remembers: beside each entry it holds
what a CPU could have that forgets nothing by itself: by ASID on AMD-V, where the VMCB says what it is told to forget, by root on
VT-x, where INVEPT does.
"""

import struct

from zeno.guests.programs import Program
from zeno.judging import headers

from .guests import module
from .lab4 import GPRS, find_code, said
from .lab5 import D_LESS, E_GPA, LIMITS, PS, RIGHTS, TRACK_LOG, V_FLUSH, V_NEXT, V_ROOT, Calls, Domain, Tables, W, kind_of, place, words
from .lab5a import PAGES, TRACK_OTHER, Ends, Touching

VMRUN = b"\x0f\x01\xd8"
VMLAUNCH, VMRESUME, INVEPT = b"\x0f\x01\xc2", b"\x0f\x01\xc3", b"\x66\x0f\x38\x80"
ASID, TLB_CONTROL, N_CR3 = headers.numbers(("vmm/svm/vmcb.h",), [
    f"offsetof(struct vmcb, {name})" for name in ("asid", "tlb_control", "n_cr3")])
ENTRIES = 400
"""Into the guest, which are looked at."""
LOGGED = 1 << TRACK_LOG


# -- by itself ---------------------------------------------------------------------------------------


def vcpus(client, domain):
    """The addresses of its vCPUs."""
    found = [domain.first]
    while (following := words(client, found[-1] + V_NEXT)[0]):
        found.append(following)
    return found


class Bench:
    """Calls of the two functions on a guest that has ended, and what has come of each."""

    def __init__(self, t, domain, regs):
        self.t, self.domain, self.client = t, domain, domain.client
        self.kind = kind_of(t)
        self.call = Calls(t, domain.client, regs)
        self.vcpus = vcpus(domain.client, domain)
        self.before = self.after = None
        self.told, self.less = [], False

    def do(self, name, gfn, starve=False):
        """One call; `told` says which vCPUs must forget."""
        self.before = self.domain.tables()
        for at in (*(vcpu + V_FLUSH for vcpu in self.vcpus), self.domain.at + D_LESS):
            self.client.write(at, b"\0")
        self.call(name, self.domain.at, gfn, starve=starve)
        self.after = self.domain.tables()
        self.told = [bool(self.client.read(vcpu + V_FLUSH, 1)[0]) for vcpu in self.vcpus]
        self.less = bool(self.client.read(self.domain.at + D_LESS, 1)[0])

    def sound(self):
        """No entry is one that can't be."""
        self.t.check(not self.after.odd, "there is something in the nested tables now that no CPU can use", "tables and pages",
                     ", ".join(f"frame {gfn:x}: {entry:x}: {why}" for gfn, entry, why in self.after.odd[:4]))

    def same_but(self, gfns, writable):
        """Everything leads where it did, and only these frames may be written or not, as is said."""
        self.sound()
        before, after = self.before.mapped(), self.after.mapped()
        self.t.check(set(before) == set(after), "a frame is mapped now that was not, or the other way round", f"{len(before)} frames",
                     f"{len(after)}")
        moved = [gfn for gfn in before if before[gfn][0] != after[gfn][0]]
        self.t.check(not moved, "a frame leads somewhere else behind it", "where it led", ", ".join(f"{gfn:x}" for gfn in moved[:4]))
        wrong = [gfn for gfn in before if after[gfn][1] != (writable if gfn in gfns else before[gfn][1])]
        self.t.check(not wrong, "of a frame beside it the guest may do what it could not, or can't do what it could",
                     "no other frame", ", ".join(f"{gfn:x}" for gfn in wrong[:4]))
        flags, flags_now = self.before.rights(self.kind), self.after.rights(self.kind)
        other = [gfn for gfn in before if (flags[gfn][1] ^ flags_now[gfn][1]) & ~W]
        self.t.check(not other, "more of an entry has changed than the right to write", "W alone",
                     ", ".join(f"frame {gfn:x}: {flags_now[gfn][1]:x}" for gfn in other[:4]))


def protect_one(t, bench, gfn, what):
    """A frame that is mapped loses its writes; the second time nothing is new."""
    bench.do("demand_protect", gfn)
    t.check(not bench.after.mapped()[gfn][1], f"demand_protect() of a frame that {what}: the guest can still write to it", "no W", "W")
    bench.same_but({gfn}, False)
    t.check(all(bench.told), f"demand_protect() has taken a right away, and {'no' if not any(bench.told) else 'not every'} CPU of the "
            "guest's forgets what it may have found before", f"{len(bench.told)} forget", f"{sum(bench.told)}")
    t.check(bench.less, "demand_protect() has taken a right away, and on VT-x the CPU would keep what it has found in the nested tables: "
            "it is not told that they allow less", "nested_less", "not set")
    bench.do("demand_protect", gfn)
    bench.same_but({gfn}, False)
    t.check(not any(bench.told), "demand_protect() of a frame that was protected already has changed nothing, and the guest's CPUs "
            "must forget all that they know", "nothing is forgotten", f"{sum(bench.told)} forget")


def unprotect_one(t, bench, gfn):
    """... and gets them again."""
    bench.do("demand_unprotect", gfn)
    t.check(bench.after.mapped()[gfn][1], "demand_unprotect() has not given the right back: each write goes on to cost an exit",
            "W", "no W")
    bench.same_but({gfn}, True)
    t.check(not any(bench.told), "demand_unprotect() makes the guest's CPUs forget all that they know: one that still believes that "
            "it may not write looks at the entry again", "nothing is forgotten", f"{sum(bench.told)} forget")


def small(t):
    """Pages of 4 KiB, and what nothing maps; a guest with two CPUs."""
    guest = Touching(t.rng, 12)

    def judge(domain, run, regs):
        bench = Bench(t, domain, regs)
        mapped = sorted(bench.domain.tables().mapped())
        t.check(len(mapped) >= 12, "the guest has touched 12 pages, and fewer are mapped: 5.1 comes first", "12", len(mapped))
        for gfn in t.rng.sample(mapped, 4):
            protect_one(t, bench, gfn, "a page of 4 KiB maps")
            unprotect_one(t, bench, gfn)
        beside = {gfn & ~511 | i for gfn in mapped for i in range(512)}
        for gfn in (*t.rng.sample(sorted(beside - set(mapped)), 2), t.rng.choice(sorted(set(range(0x800, 2 * PAGES)) - beside)),
                    PAGES + t.rng.randrange(1 << 20), t.rng.choice(mapped) ^ 1 << 18):
            for name in ("demand_protect", "demand_unprotect"):
                bench.do(name, gfn)
                bench.same_but((), True)
                t.check(set(bench.before.tables) == set(bench.after.tables), f"{name}() of a frame that nothing maps makes tables "
                        "for it", "none", "tables")
                t.check(not any(bench.told), f"{name}() of a frame that nothing maps makes the guest's CPUs forget all that they know",
                        "nothing is forgotten", f"{sum(bench.told)} forget")

    ended(t, guest, "mem=32 platform=pc-apic vcpus=2", judge)


GIB = 1 << 18
"""Frames. From there on the guest has no RAM."""


def gib(t, bench):
    """A page of 1 GiB, entered by hand: two tables stand between it and one frame."""
    gfn = GIB + t.rng.randrange(GIB)

    def do(name, writable=None, starve=False):
        """(Whether the guest may write to the frame, to how many others of the page)."""
        if writable is not None:
            entry = (RIGHTS[bench.kind] if writable else RIGHTS[bench.kind] & ~W) | PS
            bench.client.write(place(bench.client, bench.domain.root(), GIB, 3), struct.pack("<Q", entry), physical=True)
        bench.do(name, gfn, starve=starve)
        bench.sound()
        leaves = [leaf for leaf in bench.after.leaves if GIB <= leaf.gfn < 2 * GIB]
        t.check(sum(leaf.size for leaf in leaves) == GIB and all(leaf.mfn == leaf.gfn - GIB for leaf in leaves),
                f"{name}() of a frame in a page of 1 GiB: a frame of it leads somewhere else now, or nowhere", "where it led",
                f"{sum(leaf.size for leaf in leaves)} frames")
        mine = any(leaf.flags & W for leaf in leaves if leaf.gfn <= gfn < leaf.gfn + leaf.size)
        return mine, sum(leaf.size for leaf in leaves if leaf.flags & W) - mine

    mine, beside = do("demand_protect", True)
    t.check(not mine, "demand_protect() of a frame in a page of 1 GiB: the guest can still write to it", "no W", "W")
    t.check(all(bench.told) and bench.less, "demand_protect() of a frame in a page of 1 GiB has taken a right away, and not every CPU of "
            "the guest's forgets", f"{len(bench.told)} forget", f"{sum(bench.told)}")
    t.check(beside == GIB - 1, "demand_protect() of a frame in a page of 1 GiB: it is taken from others, too, and there is memory for "
            "tables: of a frame beside it the guest can't do what it could", f"{GIB - 1} others may be written", beside)
    mine, beside = do("demand_unprotect")
    t.check(mine and beside == GIB - 1, "demand_unprotect() of the one frame in a page of 1 GiB that was protected: each write goes on to "
            "cost an exit", f"all {GIB} frames may be written", mine + beside)
    mine, _ = do("demand_protect", True, starve=True)
    t.check(not mine, "demand_protect() of a frame in a page of 1 GiB, and no memory for a table: the guest can still write to it",
            "no W", "W")
    opened = "demand_unprotect() of one frame in a page of 1 GiB that was protected whole has opened the others of its large page, too"
    _, beside = do("demand_unprotect", starve=True)
    t.check(not beside, f"{opened}, for want of memory for a table", "none of them", f"{beside} frames")
    mine, beside = do("demand_unprotect", False)
    t.check(mine, "demand_unprotect() of one frame in a page of 1 GiB that was protected whole has not given the right back, and there is "
            "memory for tables: its writes go on to cost an exit", "W", "no W")
    t.check(not beside, opened, "none of them", f"{beside} frames")


def large(t):
    """A frame in a page of 2 MiB or 1 GiB, with memory for a table, and without."""
    guest = Touching(t.rng, 6)

    def judge(domain, run, regs):
        bench = Bench(t, domain, regs)
        blocks = [leaf.gfn for leaf in bench.domain.tables().leaves if leaf.size > 1]
        t.check(len(blocks) > 1, "the guest takes 2 MiB at a first touch, and no page of 2 MiB is there", "two or more", len(blocks))
        one, other = t.rng.sample(blocks, 2)
        gfn = one + t.rng.randrange(512)
        protect_one(t, bench, gfn, "a page of 2 MiB maps with 511 others")
        unprotect_one(t, bench, gfn)
        gfn, tracked = (other + i for i in t.rng.sample(range(512), 2))
        bench.do("demand_protect", gfn, starve=True)
        domain.put(tracked, 1 << TRACK_OTHER)
        t.check(not bench.after.mapped()[gfn][1], "demand_protect() of a frame in a page of 2 MiB, and no memory for a table: the "
                "guest can still write to it", "no W", "W")
        t.check(all(bench.told), "demand_protect() has taken a right away from 512 frames, and not every CPU of the guest's forgets",
                "they forget", f"{sum(bench.told)}")
        bench.do("demand_unprotect", gfn, starve=True)
        open_ = [g for g, (_, writable) in bench.after.mapped().items() if writable and g != gfn and other <= g < other + 512]
        t.check(not open_, "demand_unprotect() of one frame has opened the others of its large page, too: somebody may want to hear of "
                "writes to those", "none of them", f"{len(open_)} frames")
        if not bench.after.mapped()[gfn][1]:
            unprotect_one(t, bench, gfn)
        gib(t, bench)

    ended(t, guest, "mem=32 page=2m", judge)


def ended(t, guest, options, judge):
    """Run a guest to its end, and judge there."""
    elf = guest.assemble(t.directory, "touches")
    run = Ends(t, elf, options, judge).run
    life = said(run, f"start {elf.stem} {options}")
    t.check("exit code 0" in life, "the guest that only touches memory does not come to its end", "exit code 0", life)


# -- beside each entry -------------------------------------------------------------------------------


class Rounds(Program):
    """Writes to all of its pages once, then in each round to some; a touch of a new page says that one begins."""

    def __init__(self, rng, rounds=3):
        super().__init__(rng)
        pages = rng.sample(range(0x800, PAGES), 9 + rounds + 1)
        self.pages, self.signs = pages[:9], pages[9:]
        self.tracked = [set(rng.sample(self.pages, 4)) for _ in range(rounds)]
        """What somebody wants to hear of from each sign on."""
        self.written = [rng.sample(self.pages, 6) for _ in range(rounds)]
        for page in self.pages:
            self.op(f"mov [{page << 12:#x}], eax")
        for sign, written in zip(self.signs, self.written):
            self.op(f"mov eax, [{sign << 12:#x}]", *(f"inc dword [{(page << 12) + rng.randrange(0xFF0):#x}]" for page in written * 2))
        self.op(f"mov eax, [{self.signs[-1] << 12:#x}]")
        self.end(code=0)


class Memory:
    """What a CPU that forgets nothing may hold at each entry, by ASID or root."""

    def __init__(self, t):
        self.t, self.entries, self.narrowed = t, 0, 0
        self.held, self.owner, self.last, self.flushes, self.changes = {}, {}, {}, {}, {}
        self.before = {}
        self.root, self.invept = 0, False

    def points(self):
        """{address: function}: the entries, and what makes VT-x forget."""
        t = self.t
        if kind_of(t) == "npt":
            return {at: self.vmrun for at in find_code(t, VMRUN, t.symbol("svm_enter"))}
        entries = [at for code in (VMLAUNCH, VMRESUME) for at in find_code(t, code, t.symbol("vmx_enter"))]
        return {at: self.vmx_entry for at in entries} | {
            at: self.told for at in find_code(t, INVEPT, t.symbol("vmx_forget_translations"))}

    def vmrun(self, client, regs):
        """At a VMRUN."""
        fields = client.read(regs["rax"], 0x100, physical=True)
        asid, control = int.from_bytes(fields[ASID:ASID + 4], "little"), fields[TLB_CONTROL]
        return self.look(client, int.from_bytes(fields[N_CR3:N_CR3 + 8], "little"), asid, control)

    def told(self, client, regs):
        """At INVEPT."""
        self.invept = True
        return False

    def vmx_entry(self, client, regs):
        """At VMLAUNCH or VMRESUME. Before its first violation a guest's tables are empty."""
        done = self.root and self.look(client, self.root, self.root, self.invept)
        self.invept = False
        return done

    def look(self, client, root, asid, control):
        """At an entry: the CPU forgets all (`control`) or goes by a name, and what has it then?"""
        t = self.t
        self.entries += 1
        now = Tables(client, root).mapped()
        if control:
            self.held, self.owner = {}, {}
        told = bool(control or self.last.get(root) != asid)
        self.flushes[root] = self.flushes.get(root, 0) + told
        less = [gfn for gfn, (mfn, writable) in self.before.get(root, {}).items()
                if gfn not in now or now[gfn][0] != mfn or (writable and not now[gfn][1])]
        self.changes[root] = self.changes.get(root, 0) + bool(less)
        self.narrowed += len(less)
        self.last[root], self.before[root] = asid, now
        t.check(self.owner.setdefault(asid, root) == root, "two guests have one address space number, and nothing was flushed", "two",
                asid)
        held = self.held.setdefault(asid, {})
        stale = [gfn for gfn, (mfn, writable) in held.items()
                 if gfn not in now or now[gfn][0] != mfn or (writable and not now[gfn][1])]
        t.check(not stale, "the guest runs again, and its CPU may still hold what is not true any more: its tables allow less now, and "
                "nobody has told it", "a new address space number, or a flush", ", ".join(f"frame {gfn:x}" for gfn in stale[:4]))
        held.update(now)
        return self.entries >= ENTRIES


class Log:
    """Tracks frames at each sign, as the dirty log would, and keeps what was heard of since."""

    def __init__(self, t, guest):
        self.t, self.guest = t, guest
        self.heard, self.left = [], []
        """By round: writes that came back; frames that nobody has written to, as the p2m has it."""

    def violation(self, client, regs):
        """At demand_fault()."""
        guest, gfn = self.guest, words(client, regs["rsi"] + E_GPA)[0] >> 12
        if gfn not in guest.signs:
            if self.heard:
                self.heard[-1].append(gfn)
            return False
        domain = Domain(self.t, client, regs["rdi"])
        if self.heard:
            p2m = domain.p2m()
            self.left.append({page for page in guest.pages if p2m[page][1] & LOGGED})
        self.heard.append([])
        call = Calls(self.t, client, regs)
        try:
            for page in guest.pages:
                call("page_untrack", domain.at, page, TRACK_LOG)
            for page in sorted(guest.tracked[len(self.left)] if gfn != guest.signs[-1] else ()):
                call("page_track", domain.at, page, TRACK_LOG)
        finally:
            for name in (*GPRS, "rip"):
                client.set_reg(name, regs[name])
        return False


def forgotten(t):
    """What allows less is forgotten before the next entry, and the log knows who wrote."""
    guest = Rounds(t.rng)
    elf = guest.assemble(t.directory, "rounds")
    memory, log = Memory(t), Log(t, guest)

    def violation(client, regs):
        memory.root = words(client, regs["rdi"] + V_ROOT)[0] << 12
        return log.violation(client, regs)

    run, _ = t.witness(f"panic=off -- start {elf.stem} mem=32; off", memory.points() | {t.symbol("demand_fault"): violation},
                       modules=[module(elf)], limits=LIMITS)
    life = said(run, f"start {elf.stem} mem=32")
    t.check(memory.entries, "no guest was entered", "an entry", life)
    t.check("exit code 0" in life, "a guest whose writes are heard of does not come to its end", "exit code 0", life)
    t.check(memory.narrowed, "somebody wants to hear of writes to frames, and the guest may write to them as before", "no W", "W")
    for number, (tracked, written) in enumerate(zip(guest.tracked, guest.written)):
        wanted = tracked & set(written)
        got = [gfn for gfn in log.heard[number] if gfn in guest.pages]
        t.check(wanted <= set(got), f"the guest has written to {len(wanted)} frames that somebody wants to hear of, and he has heard of "
                f"{len(wanted & set(got))}", " ".join(f"{gfn:x}" for gfn in sorted(wanted)), " ".join(f"{gfn:x}" for gfn in got))
        t.check(log.left[number] == tracked - wanted, "the log holds other frames for written than the guest has written to",
                f"{len(tracked - wanted)} unwritten", f"{len(log.left[number])} unwritten")
        t.check(len(got) == len(set(got)) and set(got) <= wanted, "writes come back more often than once a frame, or of frames that "
                "nobody tracks any more", f"{len(wanted)} violations", f"{len(got)}")
    # One for its first entry, one for each time that something was taken away.
    root = max(memory.flushes, key=memory.flushes.get)
    t.check(memory.flushes[root] <= memory.changes[root] + 1, "the guest's CPU must forget all more often than something was taken away",
            f"{memory.changes[root] + 1} times", f"{memory.flushes[root]} times")
    t.orderly(run)
