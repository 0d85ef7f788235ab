"""Lab 9.5: a back end whose front end lies.

Witnessed: the functions that take a request out of the ring, and its segments out of a page, by themselves: the grader is the front
end, and writes there behind each access. And front ends of the reference's that lie to a dom0 of the student's, while another one has
its disk.
"""

import struct

from zeno.judging import headers

from .lab9 import ENDS, config, life_of, typed, with_dom0, within
from .lab9back import BAD_GRANT, DEST, ERROR, FAULT, FLUSH, FRAMES, INDIRECT, MASK, MOST, NONE, OKAY, PAGE, P_ALL, P_COUNT, P_OP, P_SEG, READ, REQUEST, SECTORS, SELF, SOURCE, V_REQ, WRITE, Back
from .lab9front import LIES, P_EACH, P_ENTRY, RESPONSE, RING

I_COUNT, I_OP, I_GRANTS, I_ID, EACH = headers.numbers(("inc/xen_block.h",), (
    *(f"offsetof(struct xen_blkif_indirect, {name})" for name in ("nr_segments", "indirect_op", "grefs", "id")), "sizeof(struct xen_blkif_segment)"))

HOLES = (9, 12, 13, 14, 15)
"""Bytes of a struct blkif_response that no field has."""
PARTS = ((0, 1), (1, 1), (I_OP, 1), (I_ID, 8))
"""What is looked at of a request: (byte, bytes)."""


def said_by(raw):
    """(id, operation) that a request's answer has."""
    ident, = struct.unpack_from("<Q", raw, I_ID)
    return ident, raw[I_OP] if raw[0] == INDIRECT else raw[0]


class Ring:
    """Requests on a ring, and who serves them."""

    def __init__(self, back, count, medium=False, busy=99, lies=None):
        self.back, self.t, rng = back, back.t, back.t.rng
        self.base = rng.choice((0, MASK - 3, rng.getrandbits(32)))
        back.put(medium=medium, req=self.base, rsp=self.base)
        self.served, self.statuses, self.busy, self.medium = [], [], busy, medium
        self.entries = [self.some() for _ in range(RING)]
        back.client.write(back.page + P_ENTRY, b"".join(self.entries[(n - self.base) % RING] for n in range(RING)))
        self.words = [self.base + (count if lies is None else lies) & MASK, self.base & MASK, self.base & MASK, self.base + 1 & MASK]
        back.client.write(back.page, struct.pack("<IIII", *self.words))

    def some(self):
        """The bytes of a request."""
        rng = self.t.rng
        return bytes([rng.choice((READ, WRITE, FLUSH, INDIRECT, 77)), rng.randrange(12)]) + rng.randbytes(REQUEST - 2)

    def place(self, n):
        """Where a request lies."""
        return self.back.page + P_ENTRY + P_EACH * ((self.base + n) % RING)

    def take(self, regs, indirect=True):
        """A request is served: its status."""
        at, page = regs["rsi"], self.back.page
        self.t.check(not page <= at < page + PAGE, "a request is served where it lies in the ring: the front end writes there meanwhile", "a copy of it", f"byte {at - page} of the page")
        raw = self.back.client.read(at, REQUEST)
        self.t.check(indirect or raw[0] != INDIRECT, "an indirect request is served as if it were none", "blk_serve_parts()", "blkserve()")
        self.served.append(raw)
        self.statuses.append(self.t.rng.choice((OKAY, ERROR, NONE)))
        return self.statuses[-1]

    def is_busy(self, _regs):
        """medium_busy()"""
        self.t.check(self.medium, "medium_busy() is asked of a disk that is a file: no drive is below it, and it would wait for another one's", "it is not", "medium_busy()")
        return len(self.served) >= self.busy

    def serve(self, most, seen=None, meanwhile=None):
        """blk_serve_requests(): its result."""
        def take(regs):
            status = self.take(regs)
            if meanwhile:
                meanwhile()
            return status

        self.back.guest.stain()
        return self.back.guest.call("blk_serve_requests", self.back.v, most, seen=seen, instead=self.back.instead(
            blk_serve_parts=take, blkserve=lambda regs: self.take(regs, False), medium_busy=self.is_busy, medium_begin=take,
            pv_send=lambda regs: self.t.fail("blk_serve_requests() rings the front end: what is answered is pushed by others", "it does not", "pv_send()"))) & MASK

    def indices(self):
        """req_cons and rsp_prod."""
        return struct.unpack("<II", self.back.client.read(self.back.v + V_REQ, 8))

    def answer(self, n):
        """(id, operation, status)"""
        return RESPONSE.unpack(self.back.client.read(self.place(n), RESPONSE.size))

    def look_between(self, n, old, who):
        """Of the bytes of an answer between its fields the front end gets no other than zeros, or what it has written there itself."""
        raw = self.back.client.read(self.place(n), RESPONSE.size)
        leaked = [at for at in HOLES if raw[at] not in (0, old[at])]
        self.t.check(not leaked, f"{who}: the answer has bytes that belong to no field of it, and are neither what the front end had there nor zero: it reads dom0's memory",
                     f"bytes {HOLES} as they were, or 0", {at: f"{raw[at]:02x}" for at in leaked})

    def judge(self, got, wanted, who, answered):
        """So many were taken, in order; and answered, if they are of a file."""
        t = self.t
        t.check(got == wanted, f"{who}: it says something else of how many it has served", wanted, "RING_LIES" if got == LIES else got)
        t.check(len(self.served) == wanted, f"{who}: another number is served", wanted, len(self.served))
        for n, raw in enumerate(self.served):
            t.check(raw == self.entries[n], f"{who}: what is served is not the ring's next request", f"request {n}", "another one, or not all of it")
        req, rsp = self.indices()
        t.check((req, rsp) == (self.base + wanted & MASK, self.base + wanted * answered & MASK), f"{who}: the ring's own indices are others",
                f"req_cons {self.base + wanted & MASK:x}, rsp_prod {self.base + wanted * answered & MASK:x}", f"{req:x}, {rsp:x}")
        for n in range(wanted * answered):
            right = (*said_by(self.entries[n]), self.statuses[n])
            t.check(self.answer(n) == right, f"{who}: the answer says something else (id, operation, status)", right, self.answer(n))
            self.look_between(n, self.entries[n], who)
        words = list(struct.unpack("<IIII", self.back.client.read(self.back.page, 16)))
        t.check(words[2] == self.words[2], f"{who}: the front end sees answers already", f"rsp_prod {self.words[2]:x}", f"{words[2]:x}")
        t.check(got or self.busy == 0 or words[1] == (self.base + 1 & MASK), f"{who}: nobody is rung for the next request", f"req_event {self.base + 1 & MASK:x}", f"{words[1]:x}")


def taken(t):
    """blk_serve_requests() and blk_put_answer()."""
    def look(guest):
        back, rng = Back(t, guest), t.rng
        for count, most in ((0, 16), (1, 16), (5, 16), (16, 16), (32, 16), (20, 7), (32, 99), (3, 1)):
            ring = Ring(back, count)
            ring.judge(ring.serve(most), min(count, most), f"blk_serve_requests() of {most} at most, where {count} are on the ring", True)
        for count, busy in ((3, 0), (3, 1), (5, 9)):
            ring = Ring(back, count, medium=True, busy=busy)
            ring.judge(ring.serve(16), min(count, busy), f"blk_serve_requests() of a drive's, which is busy behind {min(busy, count)} of {count}", False)
        for lies in (33, 64, 1 << 31, MASK):
            nonsense(back, lies)
        for behind in (0, 1, 2, 3, 6):
            changed(back, behind, rng.randrange(2))
        for part in PARTS:
            for kind in range(2):
                changed(back, 1, kind, part)
        for op in (*range(8), 77, 255):
            changed(back, 1, 1, PARTS[0], op)
        for behind in (0, 3, 31):
            late(back, behind)

    within(t, look, "dom0")


def late(back, behind):
    """An answer that comes when others have been taken, and are not answered yet."""
    t, rng, ring = back.t, back.t.rng, Ring(back, 0)
    back.put(req=ring.base + behind + 1, rsp=ring.base)
    raw, status = ring.some(), rng.choice((OKAY, ERROR, NONE))
    back.client.write(back.r, raw)
    back.guest.stain()
    back.guest.call("blk_put_answer", back.v, back.r, status, instead=back.instead())
    who = f"blk_put_answer() of a request, {behind} others being on their way"
    t.check(ring.indices()[1] == (ring.base + 1 & MASK), f"{who}: rsp_prod is another one", f"{ring.base + 1 & MASK:x}", f"{ring.indices()[1]:x}")
    right = (*said_by(raw), status)
    t.check(ring.answer(0) == right, f"{who}: the ring's next answer says something else (id, operation, status)", right, ring.answer(0))
    ring.look_between(0, ring.entries[0], who)


def nonsense(back, lies):
    """There can't be so many."""
    t, ring, looks = back.t, Ring(back, 0, lies=lies), []
    who = f"blk_serve_requests(), where the front end says that there are {lies:#x} requests"
    back.client.watch(back.page + P_ENTRY, P_EACH * RING, "access")
    got = ring.serve(16, lambda: looks.append(1))
    back.client.unwatch()
    t.check(not looks and not ring.served, f"{who}: it looks at some", "nothing of the ring is looked at", f"{len(looks)} times")
    t.check(got == LIES, f"{who}: it believes that", "RING_LIES", got)
    t.check(ring.indices() == (ring.base & MASK, ring.base & MASK), f"{who}: the ring's own indices have changed", f"{ring.base & MASK:x}", " ".join(f"{one:x}" for one in ring.indices()))


def changed(back, behind, kind, part=(0, REQUEST), op=None):
    """A request that is another one behind an access to it, or to a part of it, (byte, bytes); 0: while it is served. kind: whether it
    becomes an indirect one, and was none, or the other way round; op: or what else it becomes."""
    t, ring, seen = back.t, Ring(back, 1), []
    other = bytes([(READ, INDIRECT)[kind], (WRITE, 3)[kind]]) + t.rng.randbytes(REQUEST - 2)
    other = other if op is None else bytes([op]) + other[1:]
    if part != (0, REQUEST):
        back.client.write(ring.place(0), bytes([(INDIRECT, READ)[kind]]))

    def change():
        back.client.write(ring.place(0), other)

    def look():
        seen.append(1)
        if len(seen) == behind and not ring.served:
            change()

    if behind:
        back.client.watch(ring.place(0) + part[0], part[1], "access")
    got = ring.serve(16, look, None if behind else change)
    if behind:
        back.client.unwatch()
    who = "blk_serve_requests() of a request that is another one " + (f"behind access {behind} to {'it' if part == (0, REQUEST) else f'its bytes from {part[0]} on'}" if behind else "while it is served")
    t.check(got == 1 and len(ring.served) == 1, f"{who}: another number is served", 1, got)
    right = (*said_by(ring.served[0]), ring.statuses[0])
    t.check(ring.answer(0) == right, f"{who}: the answer is not to what was served (id, operation, status)", right, ring.answer(0))


def listed(t):
    """blk_unfold()"""
    def look(guest):
        back, rng = Back(t, guest), t.rng
        cases = [(1, READ), (MOST, WRITE), (MOST + 1, READ), (0, READ), (0xFFFF, WRITE), (0x2001, READ), (5, FLUSH), (5, INDIRECT), (5, 255), (12, WRITE)]
        cases += [(rng.randrange(1, MOST + 1), rng.choice((READ, WRITE))) for _ in range(4)]
        for count, op in cases:
            for fails in ({}, {"call": FAULT}, {0: BAD_GRANT}):
                one_listed(back, count, op, fails)

    within(t, look, "dom0")


def one_listed(back, count, op, fails):
    """One indirect request."""
    t, rng = back.t, back.t.rng
    raw = bytearray(rng.randbytes(REQUEST))
    grant = rng.randrange(1, 500)
    raw[0], raw[I_OP] = INDIRECT, op
    struct.pack_into("<H", raw, I_COUNT, count)
    struct.pack_into("<I", raw, I_GRANTS, grant)
    back.put()
    back.fails = fails
    back.client.write(back.r, bytes(raw))
    parts = back.parts + -back.parts % PAGE
    back.client.write(parts, bytes(raw).ljust(P_ALL, b"\0"))
    good = 0 < count <= MOST and op in (READ, WRITE)
    got = back.guest.call("blk_unfold", parts, back.v, back.r, instead=back.instead()) & 0xFF
    who = f"blk_unfold() of {count} segments, for operation {op}" + (", of which the copy fails" if fails else "")
    t.check(good or not back.copies, f"{who}: there is no such, and something is read all the same", "no copy", f"{len(back.copies)} copies")
    t.check(bool(got) == (good and not fails), f"{who}: it says something else", str(good and not fails).lower(), str(bool(got)).lower())
    if not good:
        return
    t.check(len(back.copies) == 1, f"{who}: it reads the page more than once, or not at all", "one copy", len(back.copies))
    copy = back.copies[0]
    t.check(copy.flags == SOURCE and not copy.flags & DEST, f"{who}: the copy goes another way", "from the grant", f"flags {copy.flags}")
    t.check(copy.source == (grant, back.id, 0), f"{who}: it is read from another place (grant, domain, byte)", (grant, back.id, 0), copy.source)
    t.check(copy.dest == ((parts + P_SEG) // PAGE + FRAMES, SELF, (parts + P_SEG) % PAGE), f"{who}: it is read to another place", f"byte {P_SEG} of the parts", copy.dest)
    t.check(copy.len == count * EACH, f"{who}: another number of bytes is read", count * EACH, copy.len)
    if not fails:
        found = struct.unpack("<I", back.client.read(parts + P_COUNT, 4))[0], back.client.read(parts + P_OP, 1)[0]
        t.check(found == (count, op), f"{who}: what is to be done says something else (segments, operation)", (count, op), found)


HARM = ("requests", "any", "jump", "shake", "store", "rings")


def liars(t):
    """Front ends of the reference's that lie, beside one that does not."""
    image = t.rng.randbytes(128 * SECTORS)
    files = {"img": image, "other": bytes(256 * SECTORS), "other.cfg": config("other", "other,,xvda", "times=99"),
             "good.cfg": config("good", "img,,xvda", f"rounds=4 seed={t.rng.randrange(1, 1000)}")}
    files |= {f"{word}.cfg": config(word, "img,,xvda", f"harm={word} seed={t.rng.randrange(1, 1000)}") for word in HARM}

    def each_of(names):
        return [step for name in names for step in (f"create {name}.cfg", ENDS)]

    run, lives = with_dom0(t, [typed("create other.cfg", *each_of(HARM[:3]), "halt"), typed(*each_of(HARM[3:]), *each_of(["good"]), "destroy other", ENDS, "halt")], files, "dom0")
    fronts = {life.name: life.output.decode("ascii", "replace") for life in lives if life.name != "dom0"}
    said = life_of(t, run, lives, 0)
    t.check("4/4" in fronts.get("other", ""), "a front end of the reference's is not connected to your back end: that is exercise 9.1, and its ring 9.2", "4/4", said[-300:])
    for word in HARM:
        t.check(word in fronts, f"a back end of yours gets no further, before a front end that lies ({word}) has begun", "it begins", sorted(fronts))
        t.check("0 wrong; nothing has come of it" in fronts[word], f"a front end that lies ({word}) is answered otherwise", "0 wrong; nothing has come of it", fronts[word][-500:])
    t.check("0 wrong; the end" in fronts.get("good", ""), "a front end that comes behind those that lie is not served well", "0 wrong; the end", fronts.get("good", "")[-300:])
    t.check("WRONG" not in fronts["other"], "a front end that has its disk beside those that lie finds something wrong", "all is well", fronts["other"][-300:])
    t.orderly(run)
