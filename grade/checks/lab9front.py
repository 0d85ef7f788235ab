"""Lab 9.3: the front end of a disk.

Witnessed: its functions by themselves, with slots, places and grants that are made up, where the grader is who gives grants, and the
other end of the ring. And the bytes of a disk of the reference's dom0, as dom0 sees them, behind a front end of the student's.
"""

import re
import struct
import zlib

from zeno.judging import headers

from .lab9 import CONNECTED, CLOSED, ENDS, INIT_WAIT, INITIALISING, config, life_of, typed, with_dom0, within

HEADERS = ("guest/pv/drivers/blkfront.h", "inc/errno.h")
(B_REFS, B_PAGE, B_VDEV, B_PEER, B_MINE, B_SHARED, B_SIZE, B_REQ, B_RSP, B_LIES, B_SLOT, B_ALL, S_USED, S_DONE, S_STATUS, S_REQUEST, S_ALL,
 RING, SEGMENTS, SECTORS, MOST, P_ENTRY, P_EACH, P_ALL, READ, WRITE, FLUSH, BARRIER, EAGAIN, ENODEV, EINVAL, LIES) = headers.numbers(HEADERS, (
     *(f"offsetof(struct blkfront, {name})" for name in ("refs", "page", "vdev", "peer", "mine", "ring.shared", "ring.size", "ring.req_prod",
                                                       "ring.rsp_cons", "lies", "slot")), "sizeof(struct blkfront)",
     *(f"offsetof(struct blk_slot, {name})" for name in ("used", "done", "status", "request")), "sizeof(struct blk_slot)",
     "XEN_BLKIF_RING", "XEN_BLKIF_SEGMENTS", "XEN_BLKIF_SECTOR", "BLK_SECTORS", "offsetof(struct xen_blkif_page, entry)",
     "sizeof(union xen_blkif_entry)", "sizeof(struct xen_blkif_page)", "XEN_BLKIF_OP_READ", "XEN_BLKIF_OP_WRITE", "XEN_BLKIF_OP_FLUSH_DISKCACHE",
     "XEN_BLKIF_OP_WRITE_BARRIER", "EAGAIN", "ENODEV", "EINVAL", "RING_LIES"))
HEAD, SEGMENT, RESPONSE = struct.Struct("<BBH4xQQ"), struct.Struct("<IBB2x"), struct.Struct("<QBxh4x")
PAGE, PER_PAGE = 4096, 4096 // SECTORS
MASK = 0xFFFFFFFF
OPS = {READ: "read", WRITE: "write", FLUSH: "flush", BARRIER: "write, as a barrier,"}


def signed(value):
    """An int of 32 bits."""
    return (value & MASK) - (value >> 31 & 1) * (1 << 32)


class Request:
    """One, as it lies in memory."""

    def __init__(self, raw):
        self.op, count, self.handle, self.id, self.sector = HEAD.unpack_from(raw)
        self.segments = [SEGMENT.unpack_from(raw, HEAD.size + SEGMENT.size * n) for n in range(min(count, SEGMENTS))]
        self.count = count

    def said(self):
        """All that it says."""
        return self.op, self.count, self.handle, self.id, self.sector, self.segments

    @staticmethod
    def made(op, handle, ident, sector, segments):
        """Its bytes."""
        raw = HEAD.pack(op, len(segments), handle, ident, sector) + b"".join(SEGMENT.pack(*one) for one in segments)
        return raw.ljust(P_EACH, b"\0")


class Front:
    """A struct blkfront that is made up, its ring's page, and who gives grants."""

    def __init__(self, t, guest):
        self.t, self.guest, self.client = t, guest, guest.client
        self.at, self.page = guest.room, guest.room + 0x4000
        self.buffer = guest.room + 0x10000
        self.vdev, self.peer = t.rng.choice((51712, 51728, 768)), t.rng.choice((0, 3, 7))
        self.granted, self.ended, self.left, self.named = {}, [], 0, 100
        """Grants that there are: {name: (page, domain, to read alone)}; those that were ended; how many more there are to be had."""

    def grant(self, regs):
        """refs_grant()"""
        if not self.left:
            return 0
        self.left -= 1
        self.named += self.t.rng.randrange(1, 9)
        self.granted[self.named] = regs["rdx"] // PAGE, regs["rsi"] & 0xFFFF, bool(regs["rcx"] & 0xFF)
        return self.named

    def end(self, regs):
        """refs_end()"""
        self.ended.append(regs["rsi"] & MASK)
        return 1

    def instead(self, **more):
        """What is done here."""
        return {"refs_grant": self.grant, "refs_end": self.end, **more}

    def put(self, mine, slots, req, rsp):
        """All of it: slots are {number: (done, its request's bytes)}."""
        raw = bytearray(B_ALL)
        for at, form, value in ((B_REFS, "<Q", 0), (B_PAGE, "<Q", self.page), (B_VDEV, "<Q", self.vdev), (B_PEER, "<Q", self.peer), (B_MINE, "<I", mine),
                                (B_SHARED, "<Q", self.page), (B_SIZE, "<I", RING), (B_REQ, "<I", req & MASK), (B_RSP, "<I", rsp & MASK)):
            struct.pack_into(form, raw, at, value)
        for n, (done, request) in slots.items():
            at = B_SLOT + S_ALL * n
            raw[at + S_USED], raw[at + S_DONE] = 1, done
            raw[at + S_REQUEST:at + S_REQUEST + len(request)] = request
        self.client.write(self.at, bytes(raw))
        self.ring = self.t.rng.randbytes(P_ENTRY) + self.t.rng.randbytes(P_EACH * RING)
        self.client.write(self.page, self.ring)
        self.granted, self.ended = {}, []

    def slots(self):
        """{number: (done, status, Request)} of those that are in use."""
        raw = self.client.read(self.at + B_SLOT, S_ALL * RING)
        found = {}
        for n in range(RING):
            one = raw[S_ALL * n:S_ALL * (n + 1)]
            if one[S_USED]:
                found[n] = bool(one[S_DONE]), struct.unpack_from("<h", one, S_STATUS)[0], Request(one[S_REQUEST:])
        return found

    def indices(self):
        """req_prod and rsp_cons."""
        return struct.unpack("<II", self.client.read(self.at + B_REQ, 8))

    def entries(self):
        """The ring's, and that nothing of its head has changed."""
        raw = self.client.read(self.page, P_ENTRY + P_EACH * RING)
        return [raw[P_ENTRY + P_EACH * n:P_ENTRY + P_EACH * (n + 1)] for n in range(RING)], raw[:P_ENTRY] == self.ring[:P_ENTRY]

    def entry(self, n):
        """What was there before."""
        n %= RING
        return self.ring[P_ENTRY + P_EACH * n:P_ENTRY + P_EACH * (n + 1)]


def some_request(front, n, grants=None):
    """The bytes of a request that is in slot n."""
    rng = front.t.rng
    count = rng.randrange(1, 4)
    grants = grants if grants is not None else [rng.randrange(600, 1 << 20) for _ in range(count)]
    return Request.made(rng.choice((READ, WRITE)), front.vdev, n, rng.getrandbits(30), [(ref, 0, 7) for ref in grants])


# -- to ask ------------------------------------------------------------------------------------------------


def wanted_segments(at, sectors):
    """[(page, first, last)]"""
    found = []
    while sectors:
        first = at % PAGE // SECTORS
        count = min(PER_PAGE - first, sectors)
        found.append((at // PAGE, first, first + count - 1))
        at, sectors = at + count * SECTORS, sectors - count
    return found


def one_asked(front, mine, used, pending, left, op, sector, at, sectors):
    """blk_ask(), once."""
    t, rng = front.t, front.t.rng
    base = rng.choice((0, MASK, rng.getrandbits(32)))
    slots = {n: (rng.random() < .3, some_request(front, n)) for n in used}
    front.put(mine, slots, base + pending, base)
    front.left, before = left, front.slots()
    got = signed(front.guest.call("blk_ask", front.at, op, sector, at, sectors, instead=front.instead(pv_send=lambda regs: t.fail(
        "blk_ask() rings the other end: several may be asked before blk_push()", "it does not", "pv_send()"))))
    segments = wanted_segments(at, sectors)
    where = "a back end" if mine == CONNECTED else "no back end"
    who = (f"blk_ask() to {OPS[op]} {sectors} sectors, {at % PAGE // SECTORS} sectors behind a page's begin, with {where}, {RING - len(used)} slots free, "
           f"{RING - pending} places on the ring, and {left} grants")
    now, entries, same = front.slots(), *front.entries()
    fails = len(used) == RING or pending == RING or left < len(segments)
    others = {n: now[n][:2] + (now[n][2].said(),) for n in before if n in now}
    t.check(others == {n: one[:2] + (one[2].said(),) for n, one in before.items()}, f"{who}: a slot that is another one's has changed", "they are as they were", "another")
    t.check(same, f"{who}: the ring's own words have changed, and nobody has pushed", "they are as they were", "others")
    if fails:
        t.check(got == -EAGAIN, f"{who}: it says something else", f"-EAGAIN ({-EAGAIN})", got)
        t.check(set(now) == set(before), f"{who}: it is refused, and a slot is in use for it", f"{len(before)} slots in use", f"{len(now)}")
        t.check(front.indices() == (base + pending & MASK, base), f"{who}: it is refused, and an index of the ring has changed",
                f"{base + pending & MASK:x} {base:x}", " ".join(f"{one:x}" for one in front.indices()))
        t.check(sorted(front.ended) == sorted(front.granted), f"{who}: it is refused, and some of its grants have not come back, or others",
                f"grants {sorted(front.granted)} are ended", f"grants {sorted(front.ended)}")
        t.check(all(entries[n] == front.entry(n) for n in range(RING)), f"{who}: it is refused, and something stands on the ring", "nothing", "an entry has changed")
        return
    t.check(0 <= got < RING and got not in before, f"{who}: it gives a number that is none of a free slot", "a free slot's number", got)
    t.check(set(now) == {*before, got}, f"{who}: other slots are in use behind it", sorted({*before, got}), sorted(now))
    t.check(not front.ended, f"{who}: grants have ended that the other end needs", "none", front.ended)
    done, _, request = now[got]
    t.check(not done, f"{who}: its slot is done already", "not done", "done")
    look_at(front, who, request, (op, got, sector), segments)
    req, rsp = front.indices()
    if mine != CONNECTED:
        t.check((req, rsp) == (base + pending & MASK, base), f"{who}: it is put on a ring that nobody has", "no index has changed", f"{req:x} {rsp:x}")
        return
    t.check((req, rsp) == (base + pending + 1 & MASK, base), f"{who}: it is not on the ring", f"req_prod {base + pending + 1 & MASK:x}", f"{req:x}")
    place = (base + pending) % RING
    t.check(Request(entries[place]).said() == request.said(), f"{who}: on the ring stands something else than in its slot", request.said(), Request(entries[place]).said())
    t.check(all(entries[n] == front.entry(n) for n in range(RING) if n != place), f"{who}: another place of the ring has changed", f"place {place}", "another one, too")


def look_at(front, who, request, said, segments):
    """What a request says, and what it grants."""
    t = front.t
    t.check((request.op, request.id, request.sector) == said, f"{who}: the request says something else (operation, id, sector)", said,
            (request.op, request.id, request.sector))
    t.check(request.handle == front.vdev & 0xFFFF, f"{who}: the request is another disk's", front.vdev, request.handle)
    t.check(request.count == len(segments), f"{who}: it has another number of segments", len(segments), request.count)
    got = [(first, last) for _, first, last in request.segments]
    t.check(got == [one[1:] for one in segments], f"{who}: its segments are of other sectors (first, last)", [one[1:] for one in segments], got)
    refs = [one[0] for one in request.segments]
    t.check(len(set(refs)) == len(refs) and set(refs) == set(front.granted), f"{who}: its segments name other grants than it was given, one for each", sorted(front.granted),
            refs)
    for ref, (page, _, _) in zip(refs, segments):
        at, domain, readonly = front.granted[ref]
        t.check(at == page, f"{who}: a segment's grant is of another page", f"page {page - front.buffer // PAGE} of the buffer", f"page {at - front.buffer // PAGE}")
        t.check(domain == front.peer, f"{who}: a page is granted to another domain", f"d{front.peer}", f"d{domain}")
        t.check(readonly == (request.op != READ), f"{who}: a page is granted otherwise", "to read alone" if request.op != READ else "to write",
                "to read alone" if readonly else "to write")


def asked(t):
    """blk_ask(), and blk_again()."""
    def look(guest):
        front, rng = Front(t, guest), t.rng
        every = list(range(RING))
        cases = [(CONNECTED, [], 0, 99, READ, 1), (CONNECTED, [], 0, 99, WRITE, 80), (CONNECTED, [], 0, 99, FLUSH, 0), (CONNECTED, every, 3, 99, READ, 8),
                 (CONNECTED, every[1:], RING - 1, 99, WRITE, 8), (CONNECTED, every[:-1], RING - 1, 99, WRITE, 8), (CONNECTED, [3], RING, 99, READ, 8),
                 (CLOSED, [], 0, 99, READ, 20), (INITIALISING, [0], 0, 99, WRITE, 20), (CONNECTED, [], 0, 0, READ, 9), (CONNECTED, [0, 1], 0, 2, WRITE, 40),
                 (INIT_WAIT, [], 0, 1, READ, 17), (CONNECTED, [], 0, 10, WRITE, 80), (CONNECTED, [], 0, 99, BARRIER, 12)]
        for _ in range(30):
            used = rng.sample(every, rng.choice((0, 1, 5, 20, RING - 1)))
            cases.append((rng.choice((CONNECTED, CONNECTED, CLOSED)), used, rng.randrange(RING), rng.choice((99, 99, rng.randrange(12))), rng.choice((READ, WRITE)),
                          rng.choice((1, 7, 8, 9, rng.randrange(1, MOST + 1)))))
        for case in cases:
            *first, op, sectors = case
            one_asked(front, *first, op, rng.getrandbits(40), front.buffer + rng.randrange(PER_PAGE) * SECTORS, sectors)
        for _ in range(6):
            again(front, rng.sample(every, rng.choice((0, 1, 7, RING))))

    within(t, look)


def again(front, used):
    """blk_again(), once."""
    t, rng = front.t, front.t.rng
    slots = {n: (rng.random() < .4, some_request(front, n)) for n in used}
    front.put(CONNECTED, slots, 0, 0)
    front.guest.call("blk_again", front.at, instead=front.instead(pv_send=lambda regs: 0))
    open_ones = sorted(n for n, (done, _) in slots.items() if not done)
    (req, rsp), (entries, _), now = front.indices(), front.entries(), front.slots()
    who = f"blk_again() with {len(open_ones)} requests that have no answer, and {len(used) - len(open_ones)} that have one"
    t.check((req, rsp) == (len(open_ones), 0), f"{who}: another number is on the ring", len(open_ones), req)
    found = [Request(one) for one in entries[:req]]
    t.check(sorted(one.id for one in found) == open_ones, f"{who}: others are on the ring", open_ones, sorted(one.id for one in found))
    for one in found:
        t.check(one.said() == Request(slots[one.id][1]).said(), f"{who}: one is asked otherwise than at first", Request(slots[one.id][1]).said(), one.said())
    t.check(set(now) == set(used) and not front.ended and not front.granted, f"{who}: slots or grants have changed", "they are as they were",
            f"{len(now)} slots, {len(front.granted)} grants more, {len(front.ended)} ended")


# -- to be answered ----------------------------------------------------------------------------------------


class Answers:
    """Some slots, and what the other end says of them."""

    def __init__(self, front, used, answers, count=None):
        """used: {number: done}; answers: [(id, status)]."""
        self.front, self.t, rng = front, front.t, front.t.rng
        self.base = rng.choice((0, MASK - 3, rng.getrandbits(32)))
        refs = iter(rng.sample(range(600, 1 << 20), 4 * RING))
        self.refs = {n: [next(refs) for _ in range(rng.randrange(1, 4))] for n in used}
        self.slots = {n: (done, some_request(front, n, self.refs[n])) for n, done in used.items()}
        front.put(CONNECTED, self.slots, self.base + RING, self.base)
        self.answers, self.count = answers, len(answers) if count is None else count
        for n, (ident, status) in enumerate(answers):
            front.client.write(self.place(n), RESPONSE.pack(ident & (1 << 64) - 1, rng.randrange(4), status))

    def place(self, n):
        """Where an answer lies."""
        return self.front.page + P_ENTRY + P_EACH * ((self.base + n) % RING)

    def take(self, seen=None):
        """blk_take(): its result. The ring's functions do what they do, with what is in the page."""
        prod = self.base + (RING + 1 if self.count == LIES else self.count)
        self.front.client.write(self.front.page, struct.pack("<IIII", self.base + RING & MASK, self.base & MASK, prod & MASK, self.base & MASK))
        return self.front.guest.call("blk_take", self.front.at, instead=self.front.instead(), seen=seen) & 0xFF

    def judge(self, got, who, good, lies):
        """Those of the answers that were good are done, in order, and nothing else."""
        front, t = self.front, self.t
        now, wanted = front.slots(), {n: done for n, (done, _) in self.slots.items()} | {n: True for n, _ in good}
        t.check(set(now) == set(self.slots), f"{who}: other slots are in use behind it", sorted(self.slots), sorted(now))
        t.check({n: one[0] for n, one in now.items()} == wanted, f"{who}: other slots are done behind it", sorted(n for n in wanted if wanted[n]),
                sorted(n for n, one in now.items() if one[0]))
        for n, status in good:
            t.check(now[n][1] == status, f"{who}: the slot of request {n} has another status", status, now[n][1])
        ended = sorted(ref for n, _ in good for ref in self.refs[n])
        t.check(sorted(front.ended) == ended, f"{who}: other grants have ended", f"those of requests {[n for n, _ in good]}: {ended}", sorted(front.ended))
        b_lies = bool(front.client.read(front.at + B_LIES, 1)[0])
        t.check(b_lies == lies, f"{who}: b->lies is something else", str(lies).lower(), str(b_lies).lower())
        if not lies:
            t.check(front.indices() == (self.base + RING & MASK, self.base + len(good) & MASK), f"{who}: the ring's indices are others", f"rsp_cons {self.base + len(good) & MASK:x}",
                    " ".join(f"{one:x}" for one in front.indices()))
            t.check(bool(got) == bool(good), f"{who}: it says something else of whether there were some", str(bool(good)).lower(), str(bool(got)).lower())
            event, = struct.unpack("<I", front.client.read(front.page + 12, 4))
            t.check(got or event == (self.base + 1 & MASK), f"{who}: who is told so sleeps, and the next answer does not ring", f"rsp_event {self.base + 1 & MASK:x}",
                    f"rsp_event {event:x}")


def answered(t):
    """blk_take()."""
    def look(guest):
        front, rng = Front(t, guest), t.rng
        every = list(range(RING))
        for _ in range(14):
            used = {n: False for n in rng.sample(every, rng.choice((1, 2, 9, RING)))} | {}
            some = rng.sample(sorted(used), rng.randrange(len(used) + 1))
            good = [(n, rng.choice((0, 0, -1, -2, 256, -32768))) for n in some]
            one = Answers(front, used, good)
            one.judge(one.take(), f"blk_take() of {len(good)} answers to {len(used)} requests", good, False)
        half = {n: n % 2 == 1 for n in every[:20]}
        for bad, words in ((40, "40, which no request has"), (32, "32, which is no slot"), (21, "21, which nobody asks"), (3, "3, which is answered already"),
                           (1 << 32 | 4, "4 with a bit more, far above"), (1 << 63, "2^63"), (6, "6, which it has answered just now")):
            before = [(6, 0), (2, -1)] if bad == 6 else [(n, 0) for n in rng.sample(range(0, 20, 2), rng.randrange(3))]
            open_ones = [n for n in range(0, 20, 2) if n not in dict(before)]
            one = Answers(front, half, [*before, (bad, 0), (rng.choice(open_ones), 0)])
            one.judge(one.take(), f"blk_take() of {len(before)} answers that are good, one to request {words}, and a good one behind that", before, True)
        one, looks = Answers(front, half, [(n % 2 * 20 or n, 0) for n in every], LIES), []
        front.client.watch(front.page + P_ENTRY, P_EACH * RING, "access")
        got = one.take(lambda: looks.append(1))
        front.client.unwatch()
        who = "blk_take(), when there can't be so many answers"
        one.judge(got, who, [], True)
        t.check(not looks, f"{who}: it looks at some all the same", "behind a lie nothing is looked at", f"{len(looks)} times")
        one = Answers(front, half, [])
        one.judge(one.take(), "blk_take(), when there is no answer", [], False)
        for first, then, words in ((2, 4, "of another request that is open"), (2, 500, "of no request"), (2, (1 << 64) - 1, "of no request"), (4, 1, "of a request that is done")):
            changed(front, half, first, then, words)

    within(t, look)


def changed(front, used, first, then, words):
    """An answer that is another one behind each access to it."""
    t, client = front.t, front.client
    for behind in (1, 2, 3):
        one, seen = Answers(front, used, [(first, 0)]), []

        def look(one=one, seen=seen, behind=behind):
            seen.append(1)
            if len(seen) == behind:
                client.write(one.place(0), RESPONSE.pack(then, 0, -1))

        client.watch(one.place(0), RESPONSE.size, "access")
        one.take(look)
        client.unwatch()
        who = f"blk_take() of an answer to request {first}, which becomes one {words} (id {then:#x}) behind access {behind} to it"
        now = front.slots()
        fresh = sorted(n for n in now if now[n][0] and not used[n])
        lies = bool(client.read(front.at + B_LIES, 1)[0])
        may = [[first]] + [[then]] * (then in used and not used[then]) + [[]] * lies
        t.check(set(now) == set(used) and fresh in may, f"{who}: other slots are done behind it", f"one of {may}", fresh)
        ended = sorted(ref for n in fresh for ref in one.refs[n])
        t.check(sorted(front.ended) == ended, f"{who}: what is done, and whose grants have ended, are two things", ended, sorted(front.ended))


# -- a disk of the reference's -----------------------------------------------------------------------------


def turned(image, step):
    """What pv-disk makes of a disk that it turns: sectors at the ends change places, so many at a time."""
    sectors = len(image) // SECTORS
    out = bytearray(image)
    low, high = 0, sectors
    while low + step <= high - step:
        out[low * SECTORS:(low + step) * SECTORS] = image[(high - step) * SECTORS:high * SECTORS]
        out[(high - step) * SECTORS:high * SECTORS] = image[low * SECTORS:(low + step) * SECTORS]
        low, high = low + step, high - step
    return bytes(out)


def disk(t):
    """A disk is turned round, by several requests at a time: what dom0 has then."""
    image, step = t.rng.randbytes(t.rng.randrange(300, 600) * SECTORS), t.rng.choice((3, 9, 24, 33))
    only, files = t.rng.randbytes(100 * SECTORS), {}
    files = {"img": image, "only": only, "turn.cfg": config("turn", "img,,xvda", f"turn={step}"), "only.cfg": config("only", "only,,xvda,r", "turn=5")}
    run, lives = with_dom0(t, [typed("create turn.cfg", ENDS, "crc32 img", "create only.cfg", ENDS, "crc32 only", "halt")], files, "pv-disk")
    said, who = life_of(t, run, lives, 0), "a front end that turns its disk round"
    found = dict((name, int(crc, 16)) for crc, name in re.findall(r"^([0-9a-f]+) (img|only)$", said, re.M))
    t.check("4/4" in run.text(), f"{who} has none: it is not connected, which is exercise 9.1, and its ring 9.2", "4/4", said[-400:])
    t.check("img" in found, f"{who} does not come to its end", "dom0 says a CRC", said[-400:])
    t.check(found["img"] != zlib.crc32(image), f"{who} has written nothing", f"{zlib.crc32(turned(image, step)):x}", f"{found['img']:x}")
    t.check(found["img"] == zlib.crc32(turned(image, step)), f"{who} has left other bytes in dom0's file", f"{zlib.crc32(turned(image, step)):x}", f"{found['img']:x}")
    t.check("only" in found and found["only"] == zlib.crc32(only), f"{who}, which it may only read, has changed it", f"{zlib.crc32(only):x}", said[-300:])
    t.orderly(run)
