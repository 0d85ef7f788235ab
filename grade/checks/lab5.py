"""Lab 5: nested tables and the p2m, as the machine's memory has them.

Both are read from outside, through QEMU's GDB stub or Bochs' debugger, and compared here: the kernel is not asked.
"""

import struct

from zeno.judging import headers
from zeno.judging.trial import Failed
from zeno.machines import machine

P, W, U, PS, A, D = 1, 2, 4, 0x80, 0x20, 0x40
ADDRESS = 0x000FFFFFFFFFF000
ENTRIES = 512
PAGE = 4096
LIMITS = machine.Limits(instructions=1_000_000_000, cpu_seconds=25.0, console_bytes=1 << 20, side_bytes=16 << 20)
HOLE = range(0xA0, 0x100)
"""Guest frames between a PC's RAM and its second megabyte."""
WRITE_BACK = 6 << 3
MARKS = {"npt": A | D, "ept": 1 << 8 | 1 << 9}
"""What a CPU marks in an entry by itself."""
MOST = 1 << 20
"""Frames that the tables of any guest here map, at most, and as many entries as are looked at: a submission may fill memory with more
than the grader's own can take."""
RIGHTS = {"npt": P | W | U, "ept": 7 | WRITE_BACK}
"""What a page's entry has beside its address, where the guest may do there what it likes."""
TABLES = {"npt": P | W | U, "ept": 7}

HEADERS = ("vmm/vcpu.h", "vmm/domain.h", "vmm/mem/p2m.h", "vmm/mem/page_track.h", "kern/frame.h", "vmm/exit.h", "vmm/mem/mmu.h")
V_ROOT, V_DOMAIN, V_NEXT, V_FLUSH = headers.numbers(HEADERS, tuple(
    f"offsetof(struct vcpu, {name})" for name in ("root", "domain", "next", "flush")))
D_ID, D_P2M, D_RAM, D_VCPU, D_LESS = headers.numbers(HEADERS, tuple(
    f"offsetof(struct domain, {name})" for name in ("id", "p2m", "ram", "vcpu", "nested_less")))
E_GPA, E_ACCESS, FRAME_OWNER, FRAME_TYPE, FRAME_REFS, FRAME_SIZE = headers.numbers(HEADERS, (
    "offsetof(struct exit, gpa)", "offsetof(struct exit, access)", "offsetof(struct frame, owner)", "offsetof(struct frame, type)",
    "offsetof(struct frame, refs)", "sizeof(struct frame)"))
P2M_RAM, P2M_ONES, TRACK_LOG, FRAME_GUEST, FRAME_HOST, ACCESS_WRITE = headers.numbers(HEADERS, (
    "P2M_RAM", "P2M_ONES", "TRACK_LOG", "FRAME_GUEST", "FRAME_HOST", "ACCESS_WRITE"))


def kind_of(t):
    """Which of the two formats the nested tables have, where a test runs."""
    return {"svm": "npt", "vmx": "ept"}[t.lab.cpu_on(t.machine)]


def words(client, address, count=1, physical=False):
    """Numbers of eight bytes."""
    return struct.unpack(f"<{count}Q", client.read(address, 8 * count, physical=physical))


class Leaf:
    """A page that nested tables map: guest frames from `gfn` on, machine frames from `mfn` on, and the entry's other bits."""

    def __init__(self, gfn, mfn, size, flags, at):
        self.gfn, self.mfn, self.size, self.flags, self.at = gfn, mfn, size, flags, at


class Tables:
    """All that is below a root: `leaves`, `tables` ({frame: level}), `links` (flags of entries of tables), `odd`."""

    def __init__(self, client, root):
        self.client, self.root = client, root
        self.leaves, self.tables, self.links, self.odd = [], {}, set(), []
        self.frames = 0
        self._table(root, 4, 0)

    def _table(self, at, level, base):
        bounded(self.frames + ENTRIES * len(self.tables), "nested tables", "map, or have entries for,")
        if at >> 12 in self.tables:
            self.odd.append((base, at, "a table stands in two places"))
            return
        self.tables[at >> 12] = level
        for i, entry in enumerate(words(self.client, at, ENTRIES, physical=True)):
            gfn, size = base + (i << 9 * (level - 1)), 1 << 9 * (level - 1)
            if not entry & P:
                self.odd += [(gfn, entry, "an entry by which nobody may read is not empty")] if entry else []
            elif level == 1 or (level < 4 and entry & PS):
                self.leaves.append(Leaf(gfn, (entry & ADDRESS) >> 12, size, entry & ~ADDRESS, at + 8 * i))
                self.frames += size
            elif (entry & ADDRESS) >= 1 << 32:
                self.odd.append((gfn, entry, "a table beyond the machine's memory"))
            else:
                self.links.add(entry & ~ADDRESS)
                self._table(entry & ADDRESS, level - 1, gfn)

    def _whole(self):
        """Of so many frames there is a list."""
        bounded(self.frames, "nested tables", "map")
        return self.leaves

    def mapped(self):
        """{guest frame: (machine frame, may be written)}."""
        return {leaf.gfn + i: (leaf.mfn + i, bool(leaf.flags & W)) for leaf in self._whole() for i in range(leaf.size)}

    def rights(self, kind):
        """{guest frame: (machine frame, its entry's other bits)}, without a large page's and what the CPU marks."""
        return {leaf.gfn + i: (leaf.mfn + i, bits_of(leaf, kind)) for leaf in self._whole() for i in range(leaf.size)}


def bounded(count, what, do):
    """Nobody has so many."""
    if count > MOST:
        raise Failed(f"the guest's {what} {do} more frames than there are for all guests together", f"{MOST} at most", count)


def bits_of(leaf, kind):
    """What a page's entry has beside its address, a large page's bit, and what the CPU marks."""
    return leaf.flags & ~MARKS[kind] & (~PS if leaf.size > 1 else -1)


def place(client, root, gfn, level):
    """Where the entry of a guest frame at a level is, by a walk of our own; None: something above it is no table."""
    at = root + 8 * (gfn >> 27 & 511)
    for below in range(3, level - 1, -1):
        entry, = words(client, at, physical=True)
        if not entry & P or below < 3 and entry & PS:
            return None
        at = (entry & ADDRESS) + 8 * (gfn >> 9 * (below - 1) & 511)
    return at


class Domain:
    """A guest as Zeno's books have it."""

    def __init__(self, t, client, vcpu):
        self.t, self.client, self.vcpu = t, client, vcpu
        self.at, = words(client, vcpu + V_DOMAIN)
        self.first, = words(client, self.at + D_VCPU)
        self.id = int.from_bytes(client.read(self.at + D_ID, 2), "little")
        self.ram = words(client, self.at + D_RAM)[0] >> 12
        self.ones = {}
        self._frames, self._table = {}, 0

    def root(self):
        """The machine address of the nested tables' root."""
        return words(self.client, self.first + V_ROOT)[0] << 12

    def tables(self):
        """All of them, as they are now."""
        return Tables(self.client, self.root())

    def entry_at(self, gfn):
        """Where the p2m's entry of a guest frame is; None: it has none."""
        leaf, = words(self.client, words(self.client, self.at + D_P2M)[0] + 8 * (gfn // ENTRIES ** 2))
        leaf = leaf and words(self.client, leaf + 8 * (gfn // ENTRIES % ENTRIES))[0]
        return leaf + 8 * (gfn % ENTRIES) if leaf else None

    def put(self, gfn, track, kind=P2M_RAM):
        """Its entry in the p2m is of this kind now, and tracked for these reasons."""
        at = self.entry_at(gfn)
        entry, = words(self.client, at)
        self.client.write(at, struct.pack("<Q", entry & 0xFFFFFFFF | kind << 32 | track << 40))

    def p2m(self):
        """{gfn: (mfn, track)} of its RAM; what reads as ones is in `ones`, {gfn: mfn}."""
        found, looked = {}, 0
        for i, top in enumerate(words(self.client, words(self.client, self.at + D_P2M)[0], ENTRIES)):
            for j, leaf in enumerate(words(self.client, top, ENTRIES) if top else ()):
                looked += ENTRIES if leaf else 0
                bounded(looked, "p2m", "has entries for")
                for k, entry in enumerate(words(self.client, leaf, ENTRIES) if leaf else ()):
                    if entry >> 32 & 0xFF == P2M_ONES:
                        self.ones[(i * ENTRIES + j) * ENTRIES + k] = entry & 0xFFFFFFFF
                    elif entry >> 32 & 0xFF == P2M_RAM:
                        found[(i * ENTRIES + j) * ENTRIES + k] = entry & 0xFFFFFFFF, entry >> 40 & 0xFF
        return found

    def forget(self):
        """The frame table has changed."""
        self._frames = {}

    def frame(self, mfn):
        """(type, owner, references) of a machine frame."""
        if not self._table:
            self._table, = words(self.client, self.t.symbol("frames"))
        group = mfn // 64
        if group not in self._frames:
            self._frames[group] = self.client.read(self._table + group * 64 * FRAME_SIZE, 64 * FRAME_SIZE)
        record = self._frames[group][mfn % 64 * FRAME_SIZE:]
        return record[FRAME_TYPE], struct.unpack_from("<H", record, FRAME_OWNER)[0], struct.unpack_from("<I", record, FRAME_REFS)[0]


def agree(t, domain, kind, where=""):
    """What the tables map is what the p2m has, with the rights that it may have, once; nothing is the host's. (p2m, Tables)"""
    p2m, tables = domain.p2m(), domain.tables()
    t.check(not tables.odd, f"the nested tables{where} have something in them that no CPU can use", "tables and pages",
            ", ".join(f"{gfn:x}: {entry:x}: {why}" for gfn, entry, why in tables.odd[:4]))
    for leaf in tables.leaves:
        if leaf.size == 1 and domain.ones.get(leaf.gfn) == leaf.mfn:
            t.check(not leaf.flags & W, f"guest frame {leaf.gfn:x} is a frame of ones, of the host's and of all guests, and this one may "
                    f"write to it{where}", "no W", f"{leaf.flags:x}")
            t.check(bits_of(leaf, kind) == RIGHTS[kind] & ~W, f"guest frame {leaf.gfn:x} is a frame of ones, and its entry allows "
                    f"something else than to read it and to run it{where}", f"{RIGHTS[kind] & ~W:x}", f"{bits_of(leaf, kind):x}")
            continue
        for i in range(leaf.size):
            have = p2m.get(leaf.gfn + i)
            t.check(have is not None, f"guest frame {leaf.gfn + i:x} is mapped{where}, and it has none: the p2m knows no RAM there",
                    "no entry", f"machine frame {leaf.mfn + i:x}")
            t.check(have[0] == leaf.mfn + i, f"guest frame {leaf.gfn + i:x} leads to another frame than its own{where}",
                    f"{have[0]:x}", f"{leaf.mfn + i:x}")
        flags = bits_of(leaf, kind)
        wanted = RIGHTS[kind] & (~W if p2m[leaf.gfn][1] else -1)
        t.check(flags == wanted, f"the page of {leaf.size * 4} KiB at guest frame {leaf.gfn:x} does not say what it should{where}: "
                "rights, memory type, and the bit of a large page", f"{wanted:x}", f"{flags:x}")
        for mfn in {leaf.mfn, leaf.mfn + leaf.size - 1}:
            t.check(domain.frame(mfn)[:2] == (FRAME_GUEST, domain.id), f"guest frame {leaf.gfn:x} reaches a frame that is not the "
                    f"guest's own{where}", f"one of d{domain.id}'s", f"type {domain.frame(mfn)[0]}, owner {domain.frame(mfn)[1]}")
    for mfn in tables.tables:
        t.check(domain.frame(mfn)[0] == FRAME_HOST and domain.frame(mfn)[2], f"a nested table{where} is in a frame that somebody "
                "else may get", "a frame of the host's", f"type {domain.frame(mfn)[0]}")
    links = {flags & ~MARKS[kind] for flags in tables.links}
    t.check(links <= {TABLES[kind]}, f"an entry that leads to a table takes rights away, or has bits that it must not have{where}",
            f"{TABLES[kind]:x}", ", ".join(f"{flags:x}" for flags in sorted(links)))
    return p2m, tables


class Calls:
    """Calls the kernel's functions where the machine stands, as if somebody there had; `starve`: no frame is left for them."""

    STOPS = 3000

    def __init__(self, t, client, regs):
        self.t, self.client = t, client
        self.back, self.alloc = t.symbol("monitor_run"), t.symbol("frame_alloc")
        self.stack = (regs["rsp"] - 0x800) & ~15
        self.given = []
        """Frames that were asked for during the last call."""

    def __call__(self, name, *args, starve=False):
        client = self.client
        client.write(self.stack - 8, struct.pack("<Q", self.back))
        for register, value in zip(("rdi", "rsi", "rdx", "rcx"), args):
            client.set_reg(register, value)
        client.set_reg("rsp", self.stack - 8)
        client.set_reg("rip", self.t.symbol(name))
        points = (self.back, self.alloc) if starve else (self.back,)
        for point in points:
            client.insert(point)
        for _ in range(self.STOPS):
            client.cont()
            regs = client.regs()
            if regs["rip"] == self.back:
                break
            client.set_reg("rax", (1 << 64) - 1)
            client.set_reg("rip", words(client, regs["rsp"])[0])
            client.set_reg("rsp", regs["rsp"] + 8)
        else:
            self.t.fail(f"{name}() asks for memory again and again, and there is none", "it gives up", f"{self.STOPS} times")
        for point in points:
            client.remove(point)
        return regs["rax"]
