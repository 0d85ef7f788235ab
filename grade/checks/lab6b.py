"""Lab 6B: the memory of a PV domain.

Equivalent: fresh kernels, of which Xen's ABI says what they find. Witnessed: page tables and Zeno's books are read from the
machine's memory, and counted here; the kernel's words prove nothing.
"""

import struct

from zeno.guests import pvmemory
from zeno.judging import evidence

from .guests import module
from .lab4 import said
from .lab5 import LIMITS

P, W, U = 1, 2, 4
ADDRESS = 0x000FFFFFFFFFF000
HOLE = range(256, 272)
DIRECT_END = 1 << 32


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
