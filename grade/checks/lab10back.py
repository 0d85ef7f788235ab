"""Lab 10.2: the back end of a network card.

Witnessed: its functions by themselves, with a ring that is made up, where the grader is the front end, the bridge, and who makes
copies. And frames at the end of a cable, through dom0 of the student's, while other domains break the rings' rules.
"""

import struct

from zeno.judging import evidence, headers
from zeno.judging.tools import tool

from . import lab9, lab9made
from .lab10 import LIMITS, MASK, PAGE, Cable, config, mac_of, within

HEADERS = ("guest/dom0/netback.h", "guest/pv/lib/grants.h", "inc/xen_grants.h")
V = ("port.send", "of", "tx", "rx", "tx_ring.shared", "tx_ring.size", "tx_ring.req_cons", "tx_ring.rsp_prod", "rx_ring.shared", "rx_ring.size",
     "rx_ring.req_cons", "rx_ring.rsp_prod", "lies", "served", "sent", "got", "lost", "refused")
F = ("from", "pieces", "extras", "piece", "len", "head_len", "blank", "head")
C = ("source.what", "source.domid", "source.offset", "dest.what", "dest.domid", "dest.offset", "len", "flags", "status")
(V_ALL, F_ALL, C_ALL, D_ALL, D_ID, RING, SLOTS, HEAD, FRAME_MIN, FRAME_MAX, TX, RX, ENTRY, MORE, EXTRA, BLANK, X_MORE, NULL, COPY, SELF, OF_GREF, TO_GREF, LIES,
 *REST) = headers.numbers(HEADERS, (
     "sizeof(struct vif)", "sizeof(struct net_frame)", "sizeof(struct xen_gnttab_copy)", "sizeof(struct domu)", "offsetof(struct domu, id)", "XEN_NETIF_RING",
     "XEN_NETIF_SLOTS", "NET_HEAD", "FRAME_MIN", "FRAME_MAX", "sizeof(union xen_netif_tx_entry)", "sizeof(union xen_netif_rx_entry)",
     "offsetof(struct xen_netif_tx_page, entry)", "XEN_NETTXF_more_data", "XEN_NETTXF_extra_info", "XEN_NETTXF_csum_blank", "XEN_NETIF_EXTRA_MORE",
     "XEN_NETIF_RSP_NULL", "XEN_GNTTABOP_copy", "XEN_DOMID_SELF", "XEN_GNTCOPY_source_gref", "XEN_GNTCOPY_dest_gref", "RING_LIES",
     *(f"offsetof(struct vif, {name})" for name in V), *(f"offsetof(struct net_frame, {name})" for name in F),
     *(f"offsetof(struct xen_gnttab_copy, {name})" for name in C)))
V_AT, F_AT, C_AT = dict(zip(V, REST)), dict(zip(F, REST[len(V):])), dict(zip(C, REST[len(V) + len(F):]))
ASKS, EXTRAS, SAYS = struct.Struct("<IHHHH"), struct.Struct("<BB6x4x"), struct.Struct("<Hh")
ERROR, DROPPED = -1, -2
WIDE = {"port.send", "of", "tx", "rx", "tx_ring.shared", "rx_ring.shared", "sent", "got", "lost", "refused"}
BYTES = {"lies", "served"}


class Back:
    """A struct vif that is made up, its ring, and a domain."""

    def __init__(self, t, guest):
        self.t, self.guest, self.client, self.rng = t, guest, guest.client, t.rng
        base = -(-guest.room // PAGE) * PAGE
        self.vif, self.frame, self.domain, self.page, self.rx = base, base + 0x1000, base + 0x2000, base + 0x4000, base + 0x5000
        self.id = t.rng.randrange(1, 60)
        self.seen = []
        """What net_gather() is asked."""

    def put(self, cons, prod, **more):
        """All of it; the ring has any bytes."""
        raw = bytearray(V_ALL)
        values = {"of": self.domain, "tx": self.page, "rx": self.rx, "tx_ring.shared": self.page, "tx_ring.size": RING, "tx_ring.req_cons": cons, "tx_ring.rsp_prod": prod,
                  "rx_ring.shared": self.rx, "rx_ring.size": RING, "rx_ring.req_cons": cons, "rx_ring.rsp_prod": prod, **more}
        for name, value in values.items():
            struct.pack_into("<Q" if name in WIDE else "<I", raw, V_AT[name], value if name in WIDE else value & MASK)
        self.client.write(self.vif, bytes(raw))
        self.client.write(self.domain, struct.pack("<I", self.id) if not D_ID else bytes(D_ID) + struct.pack("<I", self.id))
        self.seen = []

    def now(self, name):
        """What the struct has in a field."""
        form, size = ("<Q", 8) if name in WIDE else ("<B", 1) if name in BYTES else ("<I", 4)
        return struct.unpack(form, self.client.read(self.vif + V_AT[name], size))[0]

    def place(self, n):
        """Where an entry lies."""
        return self.page + ENTRY + TX * (n % RING)

    def put_entries(self, at, entries):
        """Such as a front end puts there."""
        for n, one in enumerate(entries):
            self.client.write(self.place(at + n), one)

    def answers(self, at, count):
        """[(id, status)]"""
        return [SAYS.unpack(self.client.read(self.place(at + n), SAYS.size)) for n in range(count)]

    def look(self, regs):
        """A struct net_frame."""
        raw = self.client.read(regs["rdi"], F_ALL)
        word = {name: struct.unpack_from("<I", raw, F_AT[name])[0] for name in ("pieces", "extras", "len", "head_len")}
        pieces = [ASKS.unpack_from(raw, F_AT["piece"] + ASKS.size * n) for n in range(min(word["pieces"], SLOTS))]
        return {**word, "from": struct.unpack_from("<Q", raw, F_AT["from"])[0], "blank": bool(raw[F_AT["blank"]]),
                "piece": [(gref, offset, size) for gref, offset, _, _, size in pieces], "ids": [one[3] for one in pieces]}

    def instead(self, count, good=1):
        """The rest of dom0: how many requests are there; net_gather() says so."""
        def gather(regs):
            self.seen.append((self.look(regs), regs["rsi"] & MASK, regs["rdx"] & MASK, regs["rcx"] - regs["rdi"] == F_AT["head"]))
            return good

        return {"pv_now": lambda regs: 0, "ring_last_requests": lambda regs: count, "share_takes": lambda regs: 1, "net_gather": gather,
                "bridge_takes": lambda regs: 0}


class Frame:
    """One, as a front end puts it on the ring."""

    def __init__(self, rng, sizes, extras=0, flags=0, whole=None, offset=None):
        """sizes: of its pieces; whole: what the first one says, if that is another number."""
        self.sizes, self.extras, self.blank = sizes, extras, bool(flags & BLANK)
        self.total = sum(sizes) if whole is None else whole
        self.refs = [rng.getrandbits(32) for _ in sizes]
        self.ids = [rng.getrandbits(16) for _ in sizes]
        self.offsets = [rng.randrange(max(PAGE - size, 0) + 1) for size in sizes]
        if offset:
            self.offsets[offset[0]] = offset[1]
        self.entries = []
        for n, size in enumerate(sizes):
            more = MORE * (n + 1 < len(sizes)) | (flags | EXTRA * bool(extras)) * (not n)
            self.entries.append(ASKS.pack(self.refs[n], self.offsets[n], more, self.ids[n], size if n else self.total))
            if not n:
                self.entries += [EXTRAS.pack(rng.randrange(1, 5), X_MORE * (k + 1 < extras)) for k in range(extras)]

    def good(self):
        """Whether it is one."""
        first = self.total - sum(self.sizes[1:])
        return (not self.extras and FRAME_MIN <= self.total <= FRAME_MAX and first >= 0
                and all(offset + size <= PAGE for offset, size in zip(self.offsets, [first, *self.sizes[1:]])))

    def pieces(self):
        """[(grant, offset, bytes)]"""
        return list(zip(self.refs, self.offsets, [self.total - sum(self.sizes[1:]), *self.sizes[1:]]))

    def answered(self, status):
        """[(id, status)]; None: any."""
        return [(self.ids[0], status)] + [(None, NULL)] * self.extras + [(one, status) for one in self.ids[1:]]

    def words(self):
        """What it is."""
        return (f"a frame of {len(self.sizes)} pieces, which say {[self.total, *self.sizes[1:]]}" + f", with {self.extras} extras" * bool(self.extras)
                + f", at {self.offsets}")


def cut(rng, total, count):
    """`total` bytes in so many pieces, none of them empty but perhaps the first."""
    marks = sorted(rng.sample(range(1, total), count - 1))
    return [b - a for a, b in zip([0, *marks], [*marks, total])]


def some(back, frames, words, lies=False, count=None, good=1):
    """netserve(), for all of these; `lies`: the last one's end can't be told."""
    t, rng = back.t, back.rng
    base = rng.choice((0, MASK - 4, MASK - 100, rng.getrandbits(32)))
    entries = [one for frame in frames for one in frame.entries]
    there = len(entries) if count is None else count
    back.put(base, base)
    back.put_entries(base, entries)
    back.guest.call("netserve", back.vif, instead=back.instead(there, good))
    whole = frames[:-1] if lies else frames
    answers = [one for frame in whole for one in frame.answered((DROPPED if good else ERROR) if frame.good() else ERROR)]
    seen = [frame for frame in whole if frame.good()]
    t.check(bool(back.now("lies")) == lies, f"{words}: whether nobody can tell where the next one begins (v->lies)", lies, bool(back.now("lies")))
    t.check(len(back.seen) == len(seen), f"{words}: another number of them are looked at: what is no frame is not", len(seen), len(back.seen))
    for frame, (got, from_, size, head) in zip(seen, back.seen):
        who = f"{words}: {frame.words()}"
        wanted = {"from": back.vif, "pieces": len(frame.sizes), "extras": 0, "len": frame.total, "blank": frame.blank, "piece": frame.pieces(), "ids": frame.ids}
        for name, value in wanted.items():
            t.check(got[name] == value, f"{who}: f->{name} is something else", value, got[name])
        t.check((from_, size, head) == (0, min(frame.total, HEAD), True), f"{who}: its head is brought otherwise", (0, min(frame.total, HEAD)), (from_, size))
    cons, prod = back.now("tx_ring.req_cons"), back.now("tx_ring.rsp_prod")
    t.check(cons == base + len(answers) & MASK, f"{words}: another number of entries is taken", len(answers), cons - base & MASK)
    t.check(prod == base + len(answers) & MASK, f"{words}: there is another number of answers: one for each entry", len(answers), prod - base & MASK)
    for n, (want, got) in enumerate(zip(answers, back.answers(base, len(answers)))):
        t.check(want[1] == got[1] and want[0] in (None, got[0]), f"{words}: entry {n} has another answer (id, status)", want, got)
    t.check(bool(back.now("served")) == bool(answers), f"{words}: whether the domain is to be told (v->served)", bool(answers), bool(back.now("served")))


def shapes(back):
    """Frames that are some, or none."""
    rng = back.rng

    def fine(count=1, **more):
        return Frame(rng, cut(rng, rng.randrange(60, FRAME_MAX + 1), count), **more)

    some(back, [fine()], "one frame")
    some(back, [fine(flags=BLANK), fine(), fine(2, flags=BLANK | 2)], "frames without a checksum, and one with")
    some(back, [fine(n) for n in (2, 3, SLOTS, 1, 5)], "frames of several pieces")
    some(back, [fine(2), fine(3)], "frames whose grants are none", good=0)
    some(back, [Frame(rng, [size]) for size in (FRAME_MIN, FRAME_MIN - 1, 0, FRAME_MAX, FRAME_MAX + 1, 65535)], "frames at the limits of lengths")
    some(back, [Frame(rng, [60], offset=(0, PAGE - 60)), Frame(rng, [60], offset=(0, PAGE - 59)), Frame(rng, [60], offset=(0, 65535))], "frames at their page's end, and beyond")
    some(back, [Frame(rng, [100, 50, 60], offset=(2, PAGE - 60)), Frame(rng, [100, 50, 60], offset=(2, PAGE - 59)), Frame(rng, [100, 50, 60], offset=(0, PAGE - 99))],
         "frames whose pieces are at their pages' ends, and beyond")
    some(back, [Frame(rng, [0, 30, 30]), Frame(rng, [0, 30, 31], whole=60), Frame(rng, [10, 65535, 20], whole=60), Frame(rng, [10, 65535, 65526], whole=1100),
                Frame(rng, [0, 0, 90])], "frames whose pieces say more than the whole")
    some(back, [Frame(rng, [50, *[3856] * 16, 3890], whole=100), fine()], "a frame whose pieces say 65,536 bytes more than the whole")
    some(back, [fine(extras=1), fine(), fine(2, extras=3), fine(3)], "frames with extras, which nobody has offered")
    some(back, [fine(SLOTS, extras=2), fine(), fine(3, extras=SLOTS + 9), fine()], f"frames with extras: of {SLOTS} pieces, and with {SLOTS + 9} extras")
    for _ in range(3):
        some(back, [fine(rng.randrange(1, 6), extras=rng.choice((0, 0, 0, 2)), whole=rng.choice((None, None, 100))) for _ in range(rng.randrange(1, 9))], "frames that are drawn")
    long = Frame(rng, cut(rng, 1500, SLOTS + 1))
    some(back, [fine(), long], f"a frame, and one of {SLOTS + 1} pieces", lies=True)
    for last in (fine(3), fine(4, extras=2), fine(extras=1), fine(extras=4)):
        for less in range(1, len(last.entries)):
            before = [fine(2)] * rng.randrange(2)
            some(back, [*before, last], f"{len(before)} frames, and {len(last.entries) - less} of the {len(last.entries)} entries of one", lies=True,
                 count=sum(len(one.entries) for one in [*before, last]) - less)
    some(back, [Frame(rng, [60])], "a ring that says more than there can be", lies=True, count=LIES)


def changing(back):
    """An entry that is another one behind each access to it: what is looked at is a frame all the same."""
    t, rng = back.t, back.rng
    for size, more, offset, words in ((1514, 0, PAGE - 100, "one that leaves its page"), (60000, 0, 0, "one that is too long"), (200, MORE, 0, "one that goes on"),
                                      (200, EXTRA, 0, "one with extras"), (5, 0, 0, "one that is too short")):
        for behind in range(1, 7):
            base = rng.getrandbits(31)
            frame = Frame(rng, [200, 70])
            back.put(base, base)
            back.put_entries(base, [*frame.entries, *Frame(rng, [60]).entries])
            then = ASKS.pack(rng.getrandbits(32), offset, more, 7, size)
            back.guest.changed("netserve", back.vif, instead=back.instead(3), place=back.place(base), behind=behind, data=then)
            who = f"a request that becomes {words} behind access {behind} to it"
            for got, *_ in back.seen:
                sizes, total = [one[2] for one in got["piece"]], got["len"]
                t.check(not got["extras"] and sum(sizes) == total and FRAME_MIN <= total <= FRAME_MAX and all(at + n <= PAGE for _, at, n in got["piece"]),
                        f"{who}: what is looked at is no frame", "pieces within their pages, which are as long as all of it", (got["piece"], total))
            if not back.now("lies"):
                taken = back.now("tx_ring.req_cons") - base & MASK
                t.check(taken == 3, f"{who}: another number of entries is taken", 3, taken)


def taken(t):
    """netserve()."""
    def look(guest):
        back = Back(t, guest)
        shapes(back)
        changing(back)

    within(t, look, "dom0")


# -- copies ------------------------------------------------------------------------------------------------


class Copies:
    """What is asked of the hypervisor."""

    def __init__(self, back):
        self.back, self.t, self.all = back, back.t, []
        self.fails = None
        """The one that fails."""

    def do(self, regs):
        """pv_grant_op()"""
        client, count = self.back.client, regs["rdx"] & MASK
        self.t.check(regs["rdi"] & MASK == COPY and count <= SLOTS + 1, "a grant operation that is no copy, or of too many", f"at most {SLOTS + 1} copies",
                     f"operation {regs['rdi'] & MASK}, {count} of them")
        for n in range(count):
            raw = client.read(regs["rsi"] + C_ALL * n, C_ALL)
            one = {name: struct.unpack_from("<Q" if name.endswith("what") else "<H", raw, at)[0] for name, at in C_AT.items()}
            client.write(regs["rsi"] + C_ALL * n + C_AT["status"], struct.pack("<h", -1 if n == self.fails else 0))
            self.all.append(one)
        return 0

    def instead(self):
        """What is done here."""
        return {"pv_grant_op": self.do, "pv_page": lambda regs: regs["rdi"] // PAGE}


def one_stretch(back, frame, begin, size, to=None):
    """net_gather(), or what net_deliver() does of a frame whose head is here: each copy."""
    t, rng, copies = back.t, back.rng, Copies(back)
    back.put(0, 0)
    raw = bytearray(F_ALL)
    for name, value in (("pieces", len(frame.sizes)), ("extras", 0), ("len", frame.total), ("head_len", begin)):
        struct.pack_into("<I", raw, F_AT[name], value)
    struct.pack_into("<Q", raw, F_AT["from"], back.vif)
    raw[F_AT["blank"]] = frame.blank
    for n, (gref, offset, count) in enumerate(frame.pieces()):
        ASKS.pack_into(raw, F_AT["piece"] + ASKS.size * n, gref, offset, 0, frame.ids[n], count)
    back.client.write(back.frame, bytes(raw))
    want = []
    at, skip = 0, begin
    for gref, offset, count in frame.pieces():
        part = min(max(count - skip, 0), size - at)
        if part:
            want.append((gref, offset + skip, at, part))
        at, skip = at + part, max(skip - count, 0)
    where = f"bytes {begin} to {begin + size} of {frame.words()}"
    if to is None:
        place = back.rx + rng.randrange(PAGE - size + 1)
        got = back.guest.call("net_gather", back.frame, begin, size, place, instead=copies.instead()) & 0xFF
        who, dest, flags, start = f"net_gather() of {where}", (place // PAGE, SELF), OF_GREF, place % PAGE
        t.check(got == 1, f"{who}: it says that they can't be had", "they can", "they can't")
    else:
        gref, ident = rng.getrandbits(32), rng.getrandbits(16)
        back.client.write(back.rx, struct.pack("<IIII", 1, 1, 0, 1).ljust(ENTRY, b"\0") + struct.pack("<HHI", ident, 0, gref))
        back.guest.call("net_deliver", back.vif, back.frame, instead={**copies.instead(), "rules_let": lambda regs: 1, "ring_requests": lambda regs: 1})
        who, dest, flags, start = f"net_deliver() of {where}, behind a head of {begin}", (gref, back.id), OF_GREF | TO_GREF, begin
        head = copies.all.pop(0) if copies.all else {}
        t.check((head.get("len"), head.get("dest.what"), head.get("flags")) == (begin, gref, TO_GREF), f"{who}: its head is not the first copy", "it is", head)
    got = [(one["source.what"], one["source.offset"], one["dest.offset"] - start, one["len"]) for one in copies.all]
    t.check(all(count for *_, count in got), f"{who}: a copy is of no bytes", "none is", got)
    t.check(sum(one[3] for one in got) == size, f"{who}: another number of bytes is copied", size, sum(one[3] for one in got))
    t.check(got == want, f"{who}: other copies are asked for (grant, its offset, where to, bytes)", want, got)
    for one in copies.all:
        t.check((one["source.domid"], one["dest.what"], one["dest.domid"], one["flags"]) == (back.id, *dest, flags),
                f"{who}: a copy is from or to somebody else (domain, page or grant, its domain, flags)", (back.id, *dest, flags),
                (one["source.domid"], one["dest.what"], one["dest.domid"], one["flags"]))


def carried(t):
    """net_gather(), net_deliver()."""
    def look(guest):
        back, rng = Back(t, guest), t.rng

        def fine(count):
            return Frame(rng, cut(rng, rng.randrange(200, FRAME_MAX + 1), count))

        for count in (1, 2, 5, SLOTS):
            frame = fine(count)
            one_stretch(back, frame, 0, frame.total)
            one_stretch(back, frame, 0, min(frame.total, HEAD))
            one_stretch(back, frame, HEAD, frame.total - HEAD)
        for sizes in ([0, 100, 0, 100, 200], [96, 300], [50, 46, 300], [97, 1, 1, 300], [100, 0, 0, 0, 60]):
            frame = Frame(rng, sizes)
            one_stretch(back, frame, 0, HEAD)
            one_stretch(back, frame, HEAD, frame.total - HEAD)
        for _ in range(8):
            frame = fine(rng.randrange(1, SLOTS + 1))
            begin = rng.randrange(frame.total)
            one_stretch(back, frame, begin, rng.randrange(1, frame.total - begin + 1))
        for count in (1, 3, SLOTS):
            frame = fine(count)
            one_stretch(back, frame, HEAD, frame.total - HEAD, to=True)

    within(t, look, "dom0")


# -- the network -------------------------------------------------------------------------------------------


HARM = ("frames", "chains", "any")
PINGS = "10.0.2.8: of 5 pings 5 came back, and of 5 datagrams 5"


def passed(t):
    """Frames from the network to a front end of the reference's, and back, through dom0 of the student's. And two such domains, between
    which others break the rules: what they say counts, since they are what dom0's files say (lab9made.py)."""
    mac, seed = mac_of(t.rng), t.rng.randrange(1, 1000)
    files = {"b.cfg": config("b", mac, "10.0.2.8", "serve whole"), "a.cfg": config("a", mac_of(t.rng), "10.0.2.7", f"ping=10.0.2.8 seed={seed}")}
    with Cable(t, ("dom0",), files) as cable:
        cable.begin()
        cable.type("create b.cfg", b"ready> ")
        cable.returned([cable.frame(mac, size) for size in (60, 1514, *(t.rng.randrange(60, 1515) for _ in range(46)))],
                       "a frame from the network to a domain, which sends it back")
    files |= {f"{word}.cfg": config(word, mac_of(t.rng), "10.0.2.9", f"harm={word}") for word in HARM}
    lines = [step for name in (*HARM, "a") for step in (f"create {name}.cfg", lab9.ENDS)]
    run, lives = with_dom0(t, [lab9.typed("create b.cfg", *lines, "shutdown b", lab9.ENDS, "halt")], files)
    for word in HARM:
        said = said_by(t, run, lives, word)
        t.check("0 wrong; nothing has come of it" in said, f"a domain that breaks the rules (harm={word}) sees something that should not be",
                "0 wrong; nothing has come of it", said[-400:])
    said = said_by(t, run, lives, "a")
    t.check(PINGS in said, "one domain pings another one, behind some that have broken the rules, and not all comes back", PINGS, said[-400:])
    t.orderly(run)


def with_dom0(t, starts, files, **more):
    """dom0 of the student's, and domains of the reference's: the run, and their lives."""
    kernel, archive = (t.image.guests / "pv-net.elf").read_bytes(), t.path("files.cpio")
    archive.write_bytes(tool("mkfiles").archive({"pv-net": kernel, **files}))
    made = lab9made.Made(t, files, kernel, "pv-net")
    run, _ = t.witness("panic=off -- " + "; ".join([*starts, "off"]), made.points, modules=[(t.image.own / "dom0.elf", ""), (archive, "")], mem=256, limits=LIMITS, **more)
    lives = evidence.lives(run)
    made.are(lives)
    return run, lives


def said_by(t, run, lives, name):
    """What the one domain of that name has printed."""
    found = [life for life in lives if life.name == name]
    if len(found) != 1:
        t.orderly(run)
        t.fail("a domain is not started: whoever was before it gets no further", f"one that is called {name}", f"{len(found)} of them")
    return found[0].output.decode("ascii", "replace")
