"""Lab 9.4: the back end of a disk.

Witnessed: its functions by themselves, in dom0 where that stands at its first line: requests that are made up, and the grader is Zeno,
who copies. And a disk of the student's dom0 under a front end of the reference's, as the next domain reads it.
"""

import re
import struct
import zlib

from zeno.judging import headers

from .lab9 import ENDS, config, life_of, typed, with_dom0, within
from .lab9front import BARRIER, FLUSH, HEAD, MASK, PAGE, READ, SECTORS, SEGMENT, WRITE, signed, turned

HEADERS = ("guest/dom0/blkback.h", "guest/dom0/blkparts.h", "inc/xen_grants.h")
(V_OF, V_READONLY, V_FILE, V_MEDIUM, V_SECTORS, V_PAGE, V_SHARED, V_SIZE, V_REQ, V_RSP, V_ALL, D_ID, D_ALL, P_COUNT, P_OP, P_SEG, P_ALL, MOST, SEGMENTS, REQUEST,
 OKAY, ERROR, NONE, DISCARD, INDIRECT, C_ALL, SOURCE, DEST, COPY, SELF) = headers.numbers(HEADERS, (
     *(f"offsetof(struct vbd, {name})" for name in ("of", "disk.readonly", "file.bytes", "medium.there", "sectors", "page", "ring.shared", "ring.size", "ring.req_cons",
                                                  "ring.rsp_prod")), "sizeof(struct vbd)", "offsetof(struct domu, id)", "sizeof(struct domu)",
     *(f"offsetof(struct blk_parts, {name})" for name in ("count", "next.operation", "seg")), "sizeof(struct blk_parts)", "BLK_MOST", "XEN_BLKIF_SEGMENTS",
     "sizeof(struct xen_blkif_request)", "XEN_BLKIF_RSP_OKAY", "XEN_BLKIF_RSP_ERROR", "XEN_BLKIF_RSP_EOPNOTSUPP", "XEN_BLKIF_OP_DISCARD", "XEN_BLKIF_OP_INDIRECT",
     "sizeof(struct xen_gnttab_copy)", "XEN_GNTCOPY_source_gref", "XEN_GNTCOPY_dest_gref", "XEN_GNTTABOP_copy", "XEN_DOMID_SELF"))
OKAY, ERROR, NONE = map(signed, (OKAY, ERROR, NONE))
ANSWERS = {OKAY: "OKAY", ERROR: "ERROR", NONE: "EOPNOTSUPP"}
POINTER, LAST = struct.Struct("<QHH4x"), struct.Struct("<HHh2x")
PER_PAGE = PAGE // SECTORS
FRAMES = 0x4000
"""What a frame's number is beyond that of the page, as the grader says it."""
OPS = {READ: "read", WRITE: "write", FLUSH: "flush", BARRIER: "write, as a barrier,", DISCARD: "discard", INDIRECT: "do by segments elsewhere"}
FAULT = -14
BAD_GRANT = -3


class Copy:
    """One that Zeno is asked for."""

    def __init__(self, raw):
        self.source, self.dest = POINTER.unpack_from(raw), POINTER.unpack_from(raw, POINTER.size)
        self.len, self.flags, _ = LAST.unpack_from(raw, 2 * POINTER.size)


class Back:
    """A struct vbd that is made up, and Zeno."""

    def __init__(self, t, guest):
        self.t, self.guest, self.client = t, guest, guest.client
        self.v, self.of, self.r, self.parts, self.page = (guest.room + at for at in (0, 0x800, 0x1000, 0x2000, 0x4000))
        self.file = guest.room + 0x6000 + t.rng.choice((0, 1, 512, t.rng.randrange(PAGE)))
        self.id, self.sectors = t.rng.randrange(2, 300), t.rng.randrange(SEGMENTS * PER_PAGE, 120)
        self.copies, self.calls, self.fails = [], 0, {}
        """What was asked of Zeno; and {number of a copy: its status}, or {"call": what the call gives back}."""

    def put(self, readonly=False, medium=False, req=0, rsp=0):
        """The disk."""
        raw = bytearray(V_ALL)
        for at, form, value in ((V_OF, "<Q", self.of), (V_READONLY, "<B", readonly), (V_FILE, "<Q", self.file), (V_MEDIUM, "<B", medium), (V_SECTORS, "<Q", self.sectors),
                                (V_PAGE, "<Q", self.page), (V_SHARED, "<Q", self.page), (V_SIZE, "<I", 32), (V_REQ, "<I", req & MASK), (V_RSP, "<I", rsp & MASK)):
            struct.pack_into(form, raw, at, value)
        self.client.write(self.v, bytes(raw))
        self.client.write(self.of, bytes(D_ID) + struct.pack("<I", self.id) + bytes(D_ALL - D_ID - 4))
        self.copies, self.calls = [], 0

    def call(self, regs):
        """pv_grant_op()"""
        self.calls += 1
        op, at, count = regs["rdi"] & MASK, regs["rsi"], min(regs["rdx"], 256)
        self.t.check(op == COPY, "it asks Zeno for another operation of grants than a copy", f"GNTTABOP {COPY}", op)
        for n in range(count):
            self.client.write(at + C_ALL * n + 2 * POINTER.size + 4, struct.pack("<h", self.fails.get(len(self.copies), 0)))
            self.copies.append(Copy(self.client.read(at + C_ALL * n, C_ALL)))
        return self.fails.get("call", 0)

    def one(self, regs):
        """pv_copy_grant()"""
        self.calls += 1
        raw = struct.pack("<6Q", *(regs[name] for name in ("rdi", "rsi", "rdx", "rcx", "r8", "r9")))
        copy = Copy(raw[:32] + struct.pack("<HHh2x", regs["r8"] & 0xFFFF, regs["r9"] & 0xFFFF, 0))
        self.copies.append(copy)
        return self.fails.get("call", 0) or self.fails.get(len(self.copies) - 1, 0)

    def instead(self, **more):
        """What is done here."""
        return {"pv_grant_op": self.call, "pv_copy_grant": self.one, "pv_page": lambda regs: regs["rdi"] // PAGE + FRAMES, **more}

    def serve(self, op, count, sector, segments, readonly=False, fails=None):
        """blkserve(): its result."""
        self.put(readonly)
        self.fails = fails or {}
        raw = HEAD.pack(op, count & 0xFF, 0, self.t.rng.getrandbits(64), sector & (1 << 64) - 1) + b"".join(SEGMENT.pack(*one) for one in segments)
        self.client.write(self.r, raw.ljust(REQUEST, b"\0"))
        return signed(self.guest.call("blkserve", self.v, self.r, instead=self.instead(), keeps=count == SEGMENTS))


# -- what is answered --------------------------------------------------------------------------------------


def answer_to(back, op, count, sector, segments, readonly):
    """What is to be answered."""
    if op not in (READ, WRITE, FLUSH):
        return NONE
    if op == FLUSH:
        return ERROR if count else OKAY
    if op == WRITE and readonly or not 0 < count <= SEGMENTS:
        return ERROR
    some = segments[:count]
    if any(first > last or last >= PER_PAGE for _, first, last in some):
        return ERROR
    return OKAY if sector + sum(last - first + 1 for _, first, last in some) <= back.sectors else ERROR


def judged(t):
    """blkserve() of what can't be, and of what just can."""
    def look(guest):
        back, rng = Back(t, guest), t.rng
        end, page = back.sectors, [(9, 0, 7)]
        cases = [(READ, 1, end - 8, page, "the last sectors"), (READ, 1, end - 7, page, "one sector beyond its end"), (WRITE, 1, end - 8, page, "the last sectors"),
                 (WRITE, 1, end - 7, page, "one sector beyond its end"), (READ, 1, end, [(9, 3, 3)], "the sector behind the last one"),
                 (READ, 1, (1 << 64) - 8, page, "sectors whose end is 2^64"), (WRITE, 1, (1 << 64) - 4, page, "sectors whose end goes round"),
                 (WRITE, 1, 1 << 55, page, "sectors from 2^64 bytes on"), (READ, 1, 1 << 32, page, "sectors from 2^32 on"), (READ, 0, 0, page, "no sector"),
                 (WRITE, 0, 0, page, "no sector"), (READ, 12, 0, [(9, 0, 0)] * 11, "twelve segments"), (WRITE, 255, 0, [(9, 0, 0)] * 11, "255 segments"),
                 (READ, 2, 0, [(9, 0, 7), (10, 5, 4)], "a segment that ends before it begins"), (READ, 2, 0, [(9, 0, 7), (10, 0, 8)], "a segment beyond its page"),
                 (WRITE, 2, 0, [(9, 0, 7), (10, 200, 255)], "a segment far beyond its page"), (WRITE, 2, end - 9, [(9, 0, 7), (10, 0, 7)], "two segments of which one is on the disk"),
                 (FLUSH, 0, 0, [], "nothing"), (FLUSH, 0, (1 << 64) - 1, [], "nothing"), (FLUSH, 1, 0, page, "a segment"), (BARRIER, 0, 0, [], "nothing"), (BARRIER, 1, 0, page, "a page"),
                 (DISCARD, 0, 0, [], "nothing"), (INDIRECT, 1, 0, page, "what is not indirect any more"), (255, 255, (1 << 64) - 1, [(9, 255, 255)] * 11, "all there is"),
                 (4, 1, 0, page, "a page"), (READ, 11, 0, [(n, 1, 1) for n in range(11)], "eleven segments"), (READ, 2, 0, [(9, 0, 7), (9, 255, 255)], "a segment far beyond its page")]
        for case in cases:
            for readonly in (False, True):
                one_judged(back, *case, readonly)
        for _ in range(20):
            segments = [(n + 1, rng.randrange(9), rng.randrange(9)) if rng.random() < .2 else (n + 1, *sorted(rng.sample(range(8), 2))) for n in range(11)]
            one_judged(back, rng.choice((READ, WRITE)), rng.randrange(13), rng.randrange(back.sectors + 2), segments, "any", rng.random() < .3)

    within(t, look, "dom0")


def one_judged(back, op, count, sector, segments, what, readonly):
    """One request."""
    t, wanted = back.t, answer_to(back, op, count, sector, segments, readonly)
    who = (f"blkserve() of a request to {OPS.get(op, f'do operation {op}')}, {what} (sector {sector:#x}, {count} segments: "
           + " ".join(f"{first}..{last}" for _, first, last in segments[:min(count, 4)]) + f") of a disk of {back.sectors} sectors" + ", to be read alone" * readonly)
    back.guest.doing = who
    got = back.serve(op, count, sector, segments, readonly)
    t.check(wanted == OKAY or not back.copies, f"{who}: it can't be, and bytes are copied all the same", "no copy", f"{len(back.copies)} copies")
    t.check(got == wanted, f"{who}: the answer is another one", ANSWERS[wanted], ANSWERS.get(got, got))
    if wanted == OKAY and op in (READ, WRITE):
        ways(back, who, op == WRITE, sector, segments[:count])


# -- the copies --------------------------------------------------------------------------------------------


def ways(back, who, write, sector, segments, where=None):
    """Each byte goes once, the way that was asked, and no other does. `where`: where a byte of the disk is; in the file, one behind the other."""
    t, begin, places = back.t, sector * SECTORS, []
    where = where or (lambda at: back.file + at)
    for grant, first, last in segments:
        places.append((grant, first * SECTORS, (last + 1) * SECTORS, begin))
        begin += (last - first + 1) * SECTORS
    done = [[] for _ in places]
    for copy in back.copies:
        theirs, ours = (copy.source, copy.dest) if write else (copy.dest, copy.source)
        t.check(copy.flags == (SOURCE if write else DEST), f"{who}: a copy goes another way", "from the grant to the file" if write else "from the file to the grant",
                f"flags {copy.flags}")
        t.check(theirs[1] == back.id, f"{who}: a copy names another domain's grant", f"d{back.id}", f"d{theirs[1]}")
        t.check(ours[1] == SELF, f"{who}: a copy names another domain's page in place of dom0's own", f"{SELF:#x}", f"{ours[1]:#x}")
        t.check(theirs[2] + copy.len <= PAGE, f"{who}: a copy goes beyond the front end's page", f"up to {PAGE}", f"from {theirs[2]}, {copy.len} bytes")
        t.check(ours[2] + copy.len <= PAGE, f"{who}: a copy goes beyond a page of dom0's", f"up to {PAGE}", f"from {ours[2]}, {copy.len} bytes")
        at = (ours[0] - FRAMES) * PAGE + ours[2]
        found = [n for n, (grant, first, last, begin) in enumerate(places)
                 if grant == theirs[0] and first <= theirs[2] and theirs[2] + copy.len <= last and at == where(begin + theirs[2] - first)]
        t.check(found, f"{who}: a copy is of bytes that were not asked for, or to another place", "the segments' bytes, and the file's in their order",
                f"grant {theirs[0]}, bytes {theirs[2]}..{theirs[2] + copy.len - 1}, byte {at - where(0)} of the file")
        done[found[0]].append((theirs[2], theirs[2] + copy.len))
    for (grant, first, last, _), parts in zip(places, done):
        at = first
        for begin, end in sorted(parts):
            t.check(begin == at, f"{who}: bytes of a segment are copied twice, or not at all", f"from byte {at} of grant {grant} on", f"from {begin}")
            at = end
        t.check(at == last, f"{who}: bytes of a segment are not copied", f"up to byte {last - 1} of grant {grant}", f"up to {at - 1}")
    t.check(back.calls == 1, f"{who}: Zeno is asked more than once", "one hypercall", back.calls)


def moved(t):
    """blkserve() of what can be: each byte's way; and what fails."""
    def look(guest):
        back, rng = Back(t, guest), t.rng
        anywhere, most = (0, 512, 1, rng.randrange(PAGE), rng.randrange(PAGE)), [(n + 1, 0, PER_PAGE - 1) for n in range(SEGMENTS)]
        shapes = [(one, anywhere) for one in ([(9, 0, 7)], [(9, 7, 7), (10, 0, 0)], [(n + 1, 0, 4) for n in range(11)], [(9, 2, 3), (9, 2, 3), (8, 0, 7)])]
        shapes += [(most, (0,)), (most, (1,)), (most, (PAGE - 1,)), (most, (512, 1024, 3584))]
        for _ in range(20):
            shapes.append(([(grant, *sorted((rng.randrange(8), rng.randrange(8)))) for grant in rng.sample(range(1, 500), rng.randrange(1, 12))], anywhere))
        for segments, begins in shapes:
            back.file = guest.room + 0x6000 + rng.choice(begins)
            all_of_them = sum(last - first + 1 for _, first, last in segments)
            op, sector = rng.choice((READ, WRITE)), rng.randrange(max(1, back.sectors - all_of_them + 1))
            if all_of_them > back.sectors:
                continue
            who = (f"blkserve() to {OPS[op]} {all_of_them} sectors, by {len(segments)} segments (" + " ".join(f"{first}..{last}" for _, first, last in segments)
                   + f"), from sector {sector} on, of a file that begins {back.file % PAGE} bytes behind a page's begin")
            guest.doing = who
            got = back.serve(op, len(segments), sector, segments)
            t.check(got == OKAY, f"{who}: the answer is another one", "OKAY", ANSWERS.get(got, got))
            ways(back, who, op == WRITE, sector, segments)
            for fails, why in (({"call": FAULT}, "the call fails"), ({0: BAD_GRANT}, "the first copy fails"), ({len(back.copies) - 1: BAD_GRANT}, "the last copy fails"),
                               ({rng.randrange(len(back.copies)): -1}, "a copy fails")):
                got = back.serve(op, len(segments), sector, segments, fails=fails)
                t.check(got == ERROR, f"{who}, of which {why}: the answer is another one", "ERROR", ANSWERS.get(got, got))

        for n in range(6):
            scattered(back, n == 5)

    within(t, look, "dom0")


def scattered(back, full):
    """blk_move() on a disk whose pages are anywhere; `full`: there is no memory for the last one."""
    t, rng = back.t, back.t.rng
    pages = rng.sample(range(40), back.sectors // PER_PAGE + 1)
    segments = [(grant, *sorted((rng.randrange(4), rng.randrange(4, 8)))) for grant in rng.sample(range(1, 500), 5)]
    op, sector = WRITE if full else rng.choice((READ, WRITE)), rng.randrange(back.sectors - 40)
    end = sector * SECTORS + sum(last - first + 1 for _, first, last in segments) * SECTORS
    asked = []

    def where(at):
        return back.guest.room + PAGE * (10 + pages[at // PAGE]) + at % PAGE

    def here(regs):
        asked.append(regs["rsi"])
        t.check(regs["rsi"] < end, f"{who}: it wants to know where a byte is that nobody has asked for", f"bytes up to {end - 1}", regs["rsi"])
        t.check(bool(regs["rdx"] & 0xFF) == (op == WRITE), f"{who}: it does not say whether the byte is to be written", op == WRITE, regs["rdx"] & 0xFF)
        return 0 if full and regs["rsi"] // PAGE == (end - 1) // PAGE else where(regs["rsi"])

    who = f"blk_move() to {OPS[op]} by 5 segments, from sector {sector} on, of a disk whose pages are anywhere" + (", and there is no memory for the last one" if full else "")
    back.put()
    back.fails = {}
    raw = HEAD.pack(op, len(segments), 0, rng.getrandbits(64), sector) + b"".join(SEGMENT.pack(*one) for one in segments)
    back.client.write(back.r, raw.ljust(REQUEST, b"\0"))
    got = signed(back.guest.call("blk_move", back.v, back.r, back.guest.at("sparse_page"), instead=back.instead(sparse_page=here)))
    t.check(got == (ERROR if full else OKAY), f"{who}: the answer is another one", "ERROR" if full else "OKAY", ANSWERS.get(got, got))
    if not full:
        ways(back, who, op == WRITE, sector, segments, where)


# -- two domains -------------------------------------------------------------------------------------------


def served(t):
    """A disk of the student's dom0 is turned round by one front end of the reference's, and read by the next."""
    image, step, seed = t.rng.randbytes(t.rng.randrange(300, 600) * SECTORS), t.rng.choice((3, 9, 24, 33)), t.rng.randrange(1, 1000)
    only = t.rng.randbytes(100 * SECTORS)
    files = {"img": image, "only": only, "turn.cfg": config("turn", "img,,xvda", f"turn={step}"), "read.cfg": config("read", "img,,xvda,r", f"rounds=1 seed={seed}"),
             "only.cfg": config("only", "only,,xvda,r", "turn=5"), "last.cfg": config("last", "only,,xvda,r", f"rounds=1 seed={seed}"),
             "more.cfg": config("more", "only,,xvda", f"rounds=6 seed={seed}")}
    names = ["turn", "read", "only", "last", "more"]
    run, lives = with_dom0(t, [typed(*(step for name in names for step in (f"create {name}.cfg", ENDS)), "halt")], files, "dom0")
    fronts = {life.name: life.output.decode("ascii", "replace") for life in lives if life.name != "dom0"}
    said = life_of(t, run, lives, 0)
    t.check(set(names) <= set(fronts), "not all front ends have come to their end: a back end of yours gets no further", names, said[-400:])
    t.check("4/4" in fronts["turn"], "a front end of the reference's is not connected to your back end: that is exercise 9.1, and its ring 9.2", "4/4", fronts["turn"][-300:])
    t.check("0 wrong; the end" in fronts["turn"], "a front end has turned its disk round, and was refused something", "0 wrong; the end", fronts["turn"][-300:])
    for name, wanted, who in (("read", turned(image, step), "reads a disk that was turned round"), ("last", only, "reads a disk that another one may only read, and has tried to write")):
        found = re.search(r"crc32 ([0-9a-f]+)", fronts[name])
        t.check(found and int(found[1], 16) == zlib.crc32(wanted), f"a front end of the reference's {who}, and finds other bytes", f"{zlib.crc32(wanted):x}", fronts[name][-300:])
        t.check("0 wrong; the end" in fronts[name], f"a front end of the reference's {who}, and is answered otherwise", "0 wrong; the end", fronts[name][-300:])
    t.check("wrong; the end" in fronts["only"] and " 0 wrong" not in fronts["only"], "a front end writes a disk that it may only read, and is not refused", "it is refused",
            fronts["only"][-300:])
    t.check("0 wrong; the end" in fronts["more"], "a front end of the reference's, which writes and reads what it has drawn, finds something wrong", "0 wrong; the end", fronts["more"][-300:])
    t.orderly(run)
