"""Two domains of Lab 8, or three: one that grants, one that uses it, and one that has the number of a dead one."""

from .pv import SELF, YIELD, Paravirtual
from .pvgrants import (
    BAD_GNTREF, BAD_PAGE, DENIED, DEVICE, FROM_GRANT, GENERAL, GRANT_TABLE, HOST, MAP, OKAY, PAGES, PERMIT, PER_FRAME, READ, READONLY, ROOT, TO_GRANT,
    UNMAP, WINDOWS, Granting,
)

FIRST, THIRDS, MANY = 8, 50, 150


class Peer(Granting):
    """One that uses what another one grants: the answers are known, the flags are looked at in memory."""

    def map_of(self, slot, ref, flags, window, dom):
        """It waits for the entry."""
        self.ask_map(ref, flags, window, dom)
        self.until(f"map{len(self.lines)}", f"mov eax, {GRANT_TABLE}", "xor edi, edi", "mov rsi, request", "mov edx, 1", "syscall",
                   "cmp word [request + 18], 0", "je {out}")
        self.kept(slot)

    def unmap_of(self, slot, window, bus):
        """All of it."""
        self.op(f"mov rax, {'0' if window is None else f'windows + {4096 * window}'}", "mov [request], rax",
                f"mov rax, [buses + {8 * slot}]" if bus else "xor eax, eax", "mov [request + 8], rax", f"mov eax, [slots + {8 * slot}]",
                "mov [request + 16], eax")
        self.status(UNMAP, 20, OKAY, f"unmap_grant_ref(the mapping of slot {slot})")


    def map_many(self, ref, dom, first):
        """MANY times, to read, for a device: more than one page of handles has."""
        self.data.append(f"many{first}: times {MANY} dd 0")
        self.ask_map(ref, DEVICE | READ, 0, dom)
        self.op("xor ebx, ebx")
        self.label(f"map_many{first}")
        self.call(GRANT_TABLE, MAP, "request", 1)
        self.op("mov eax, [request + 20]", f"mov [many{first} + rbx * 4], eax", "inc ebx", f"cmp ebx, {MANY}", f"jb map_many{first}")

    def unmap_many(self, first):
        """All of them."""
        self.op("mov qword [request], 0", "xor ebx, ebx")
        self.label(f"unmap_many{first}")
        self.op(f"mov eax, [many{first} + rbx * 4]", "mov [request + 16], eax", f"mov rax, [bus_of_many{first}]", "mov [request + 8], rax")
        self.call(GRANT_TABLE, UNMAP, "request", 1)
        self.op("inc ebx", f"cmp ebx, {MANY}", f"jb unmap_many{first}")


def ends_first(rng, others):
    """Mappings of `others`' grants: [(slot, ref, flags, window)], with gaps: those that are ended again."""
    made, window = [], 0
    for slot in range(12):
        flags = rng.choice((DEVICE, HOST, HOST | DEVICE)) if window < WINDOWS - 1 else DEVICE
        made.append((slot, FIRST + rng.randrange(others), flags | rng.choice((0, READ)), window))
        window += bool(flags & HOST)
    return made, sorted(rng.sample(range(1, 11), 5))


def short(rng):
    """One that ends at once."""
    p = Paravirtual(rng)
    p.end()
    return p


def pair(rng, user_ends):
    """([guests, in the order of their starts], which mappings there are when one of the first two ends: (slot, ref, flags, window))."""
    user, granter = (2, 1) if user_ends else (1, 2)
    a, b, c = Peer(rng, granter), Peer(rng, user), Peer(rng, granter)
    for n in range(PAGES):
        a.grant(FIRST + n, PERMIT, user, n)
    made, gone = ends_first(rng, PAGES)
    b.grant(30, PERMIT, user, 2)
    for slot, ref, flags, window in made:
        b.map_of(slot, ref, flags, window, granter)
    b.map(30, 30, DEVICE)  # what it grants to itself, and keeps
    if not user_ends:
        a.grant(60, PERMIT, granter, 3)
        a.map(30, 60, DEVICE | READ)
    for n in (3, 4):
        b.map_many(FIRST + n, granter, n)
        b.data.append(f"bus_of_many{n}: dq 0")
        b.op("mov rax, [request + 24]", f"mov [bus_of_many{n}], rax")
    for slot in gone:
        _, _, flags, window = made[slot]
        b.unmap_of(slot, window if flags & HOST else None, flags & DEVICE)
    left = [one for one in made if one[0] not in gone]
    b.map_of(40, FIRST, HOST, WINDOWS - 1, granter)
    b.op(f"mov byte [windows + {4096 * (WINDOWS - 1)}], 7")  # by which the granter knows that it has all of them
    left.append((40, FIRST, HOST, WINDOWS - 1))
    left += [(None, FIRST + n, DEVICE | READ, 0) for n in (3, 4) for _ in range(MANY)]
    a.until("ready", "cmp byte [pages], 7", "je {out}")
    if user_ends:
        a.label("waits")
        a.call(29, YIELD)
        a.op("jmp waits")
    else:  # somebody else has the granter's number, when he grants something
        b.map_of(41, THIRDS, DEVICE, 0, granter)
        for slot, ref, flags, window in left:
            if slot is None:
                continue
            if flags & HOST:
                b.op(f"movzx eax, byte [windows + {4096 * window + 99}]")
                b.say("rax", 0x41 + ref - FIRST)
            b.unmap_of(slot, window if flags & HOST else None, flags & DEVICE)
        for n in (3, 4):
            b.unmap_many(n)
        b.unmap(30, None, 2)
        b.unmap_of(41, None, True)
        b.map_of(42, THIRDS, HOST, 0, granter)
        b.op("mov byte [windows], 9")
        c.grant(THIRDS, PERMIT, user, 1)
        c.until("done", "cmp byte [pages + 4096], 9", "je {out}")
    for one in (a, b, c):
        one.end()
    return ([a, b] if user_ends else [b, a, c]), left


def still(rng):
    """[one that grants all that it has, and waits for ever; one that has a table, too, has asked for nothing, and ends]"""
    granter, user = Granting(rng, 1), Granting(rng, 2)
    for n in range(PAGES + 2):
        granter.grant(FIRST + n, PERMIT, 2, n)
    granter.label("waits")
    granter.call(29, YIELD)
    granter.op("jmp waits")
    user.call(GRANT_TABLE, MAP, "request", 0)
    user.end()
    return [granter, user]


def copying(rng):
    """[one that grants, one that copies]: each has other entries of the same number, and other bytes in the pages that they name."""
    fill = [[rng.getrandbits(64) for _ in range(512)] for _ in range(PAGES)]
    granter, user = Granting(rng, 1), Granting(rng, 2, fill=fill)
    for n in range(PAGES):
        granter.grant(FIRST + n, PERMIT | (READONLY if n == 1 else 0), 2, n)
        user.grant(FIRST + n, PERMIT, 2, (n + 1) % PAGES)
    granter.grant(20, PERMIT, 1, 0)
    granter.grant(21, PERMIT, 2, ROOT)
    user.grant(20, PERMIT, 2, 0)
    user.grant(21, PERMIT, 2, 1)
    user.grant(22, PERMIT, 2, 1)
    granter.label("waits")
    granter.call(29, YIELD)
    granter.op("jmp waits")

    def one(ends, length, flags, wanted):
        user.copy(*ends, length, flags, wanted)
        user.op(f"movzx eax, byte [pages + {4096 * 5 + 4000}]")
        user.doing = f"{user.request}: a byte of its page 5 now"

    own = (5, SELF, 4000)
    for n in (0, 1, 2, 4):  # from there; and to there and from there again
        one(((FIRST + n, 1, rng.randrange(4000)), own), 9, FROM_GRANT, OKAY)
        user.say("rax", 0x41 + n)
    user.op(f"mov dword [pages + {4096 * 5 + 4000}], 0x5a5a5a5a")
    one((own, (FIRST + 2, 1, 700)), 4, TO_GRANT, OKAY)
    user.say("rax", 0x5A)
    one(((FIRST + 2, 1, 701), (FIRST + 3, 1, 4095)), 1, FROM_GRANT | TO_GRANT, OKAY)
    user.say("rax", 0x5A)
    user.op(f"mov byte [pages + {4096 * 5 + 4000}], 7")
    one(((FIRST + 3, 1, 4095), own), 1, FROM_GRANT, OKAY)
    user.say("rax", 0x5A)
    for what, flag, wanted in ((FIRST + 1, TO_GRANT, GENERAL), (20, FROM_GRANT, GENERAL), (21, TO_GRANT, BAD_PAGE), (22, FROM_GRANT, GENERAL),
                               (PER_FRAME, FROM_GRANT, BAD_GNTREF), (0, 0, DENIED)):
        there = (what, 1, 3)
        one((there, own) if flag != TO_GRANT else (own, there), 1, flag, wanted)
        user.say("rax", 0x5A)
    one(((FIRST, 2, 4), own), 1, FROM_GRANT, OKAY)  # its own entry of that number
    user.say("rax", fill[1][0] >> 32 & 0xFF)
    user.end()
    return [granter, user]
