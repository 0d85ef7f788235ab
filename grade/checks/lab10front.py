"""Lab 10.1: the front end of a network card.

Witnessed: its functions by themselves, with pages and grants that are made up, where the grader is who gives grants, and the other
end of both rings. And frames at the end of a cable, behind a front end of the student's and dom0 of the reference's.
"""

import struct

from zeno.judging import headers

from .lab10 import MASK, PAGE, Cable, config, mac_of, within

HEADERS = ("guest/pv/drivers/netfront.h", "inc/errno.h")
NAMES = ("dev.mine", "dev.peer", "memory", "tx.shared", "tx.size", "tx.req_prod", "tx.rsp_cons", "rx.shared", "rx.size", "rx.req_prod", "rx.rsp_cons",
         "sent_ref", "room_ref", "lies", "sent", "got", "failed")
WIDE = {"dev.peer", "memory", "tx.shared", "rx.shared", "sent", "got", "failed"}
PARTS = ("tx", "rx", "sent", "room")
WORDS = ("req_prod", "req_event", "rsp_prod", "rsp_event")
(ALL, SENT, ROOM, RING, TX, RX, ENTRY, CONNECTED, CLOSED, MORE, EXTRA, BLANK, VALID, EAGAIN, ENODEV, *REST) = headers.numbers(HEADERS, (
    "sizeof(struct netfront)", "NET_SENT", "NET_ROOM", "XEN_NETIF_RING", "sizeof(union xen_netif_tx_entry)", "sizeof(union xen_netif_rx_entry)",
    "offsetof(struct xen_netif_tx_page, entry)", "XEN_XENBUS_Connected", "XEN_XENBUS_Closed", "XEN_NETRXF_more_data", "XEN_NETRXF_extra_info",
    "XEN_NETRXF_csum_blank", "XEN_NETRXF_data_validated", "EAGAIN", "ENODEV", *(f"offsetof(struct netfront, {name})" for name in NAMES),
    *(f"offsetof(struct net_memory, {name})" for name in PARTS), *(f"offsetof(struct xen_ring, {name})" for name in WORDS)))
AT = dict(zip((*NAMES, *(f"memory.{name}" for name in PARTS), *WORDS), REST))
SAYS, GOES, GIVES, COMES = struct.Struct("<Hh"), struct.Struct("<IHHHH"), struct.Struct("<HHI"), struct.Struct("<HHHh")


def signed(value):
    """An int of 32 bits."""
    return (value & MASK) - (value >> 31 & 1) * (1 << 32)


class Front:
    """A struct netfront that is made up, its memory, and who gives grants."""

    def __init__(self, t, guest):
        self.t, self.guest, self.client, self.rng = t, guest, guest.client, t.rng
        self.at, self.memory = guest.room, guest.at("memory")
        self.peer = t.rng.choice((0, 3, 7))
        self.granted, self.ended, self.keeps, self.left, self.named, self.rang = {}, [], set(), 0, 100, 0
        """Grants that were given: {name: (page, domain, to read alone)}; that were ended; that the other end keeps; how many more there
        are to be had; the last one's name; events."""

    def grant(self, regs):
        """refs_grant()"""
        if not self.left:
            return 0
        self.left -= 1
        self.named += self.rng.randrange(1, 9)
        self.granted[self.named] = regs["rdx"], regs["rsi"] & 0xFFFF, bool(regs["rcx"] & 0xFF)
        return self.named

    def end(self, regs):
        """refs_end()"""
        ref = regs["rsi"] & MASK
        if ref in self.keeps:
            return 0
        self.ended.append(ref)
        return 1

    def ring(self, _regs):
        """pv_send()"""
        self.rang += 1

    def page(self, kind, n):
        """Where a page of the front end's lies."""
        return self.memory + AT[f"memory.{kind}"] + PAGE * n

    def put(self, tx, rx, sent=None, room=None, mine=CONNECTED, lies=False):
        """All of it. tx, rx: (req_prod, rsp_cons, answers that are there); sent, room: {number of a page: its grant}."""
        raw = bytearray(ALL)
        values = {"dev.mine": mine, "dev.peer": self.peer, "memory": self.memory, "tx.shared": self.memory + AT["memory.tx"], "tx.size": RING, "tx.req_prod": tx[0],
                  "tx.rsp_cons": tx[1], "rx.shared": self.memory + AT["memory.rx"], "rx.size": RING, "rx.req_prod": rx[0], "rx.rsp_cons": rx[1], "lies": lies}
        for name, value in values.items():
            struct.pack_into("<B" if name == "lies" else "<Q" if name in WIDE else "<I", raw, AT[name], value if name in WIDE else value & MASK)
        for name, refs in (("sent_ref", sent or {}), ("room_ref", room or {})):
            for n, ref in refs.items():
                struct.pack_into("<I", raw, AT[name] + 4 * n, ref)
        self.client.write(self.at, bytes(raw))
        self.rings = {}
        for kind, each, (req, rsp, count) in (("tx", TX, tx), ("rx", RX, rx)):
            page = bytearray(self.rng.randbytes(ENTRY + each * RING))
            for name, value in (("req_prod", req), ("req_event", req + 1), ("rsp_prod", rsp + count), ("rsp_event", rsp + 1)):
                struct.pack_into("<I", page, AT[name], value & MASK)
            self.client.write(self.memory + AT[f"memory.{kind}"], bytes(page))
            self.rings[kind] = bytes(page)
        self.granted, self.ended, self.keeps, self.rang = {}, [], set(), 0

    def place(self, kind, n):
        """Where an entry lies."""
        return self.memory + AT[f"memory.{kind}"] + ENTRY + (TX if kind == "tx" else RX) * (n % RING)

    def now(self, name):
        """What the struct has in a field."""
        if name in ("sent_ref", "room_ref"):
            count = SENT if name == "sent_ref" else ROOM
            found = struct.unpack(f"<{count}I", self.client.read(self.at + AT[name], 4 * count))
            return {n: ref for n, ref in enumerate(found) if ref}
        if name == "lies":
            return bool(self.client.read(self.at + AT[name], 1)[0])
        wide = name in WIDE
        return struct.unpack("<Q" if wide else "<I", self.client.read(self.at + AT[name], 8 if wide else 4))[0]

    def entries(self, kind):
        """{place: its bytes} of those that have changed."""
        each = TX if kind == "tx" else RX
        raw, old = self.client.read(self.memory + AT[f"memory.{kind}"], ENTRY + each * RING), self.rings[kind]
        cut = [slice(ENTRY + each * n, ENTRY + each * (n + 1)) for n in range(RING)]
        return {n: raw[one] for n, one in enumerate(cut) if raw[one] != old[one]}

    def call(self, name, *args):
        """A function of the front end."""
        return self.guest.call(name, self.at, *args, instead={"refs_grant": self.grant, "refs_end": self.end, "pv_send": self.ring})

    def pages_of(self, ended, refs):
        """Whose grants these are, in words. refs: {page: grant}"""
        named = {ref: n for n, ref in refs.items()}
        strangers = sum(ref not in named for ref in ended)
        return f"of the pages {[named[ref] for ref in ended if ref in named]}" + f", and {strangers} that no page had" * bool(strangers)

    def refs(self, pages):
        """Grants of pages, which nobody has yet."""
        return dict(zip(pages, self.rng.sample(range(1000, 1 << 20), len(pages))))


def some_base(rng):
    """An index, often near where they begin anew."""
    return rng.choice((0, MASK - 3, MASK - 40, rng.getrandbits(32)))


# -- frames that go, and room ------------------------------------------------------------------------------


def one_sent(front, out, left, size, mine=CONNECTED, lies=False):
    """net_page(), and net_send(), once. out: how far behind req_prod are those frames that have no answer."""
    t, base = front.t, some_base(front.rng)
    sent = front.refs(sorted((base - one & MASK) % SENT for one in out))
    front.put((base, base - len(out), 0), (0, 0, 0), sent, mine=mine, lies=lies)
    front.left, number = left, base % SENT
    who = f"with {len(out)} frames that have no answer, {left} grants, and {'no back end' if mine != CONNECTED else 'one that lies' if lies else 'a back end'}"
    page = front.call("net_page")
    free = number not in sent and not lies
    t.check(page == (front.page("sent", number) if free else 0), f"net_page() {who}: it gives another page", f"page {number}" if free else "none", f"{page:x}")
    if not free:
        return
    got = signed(front.call("net_send", size))
    who = f"net_send() of {size} bytes, {who}"
    fails = ENODEV if mine != CONNECTED else EAGAIN if not left else 0
    t.check(got == -fails, f"{who}: it says something else", -fails, got)
    t.check(not front.rang, f"{who}: it rings the other end: several may be sent before net_push()", "it does not", "pv_send()")
    t.check(not front.ended, f"{who}: grants have ended that the other end needs", "none", front.ended)
    entries, now, count = front.entries("tx"), front.now("sent_ref"), front.now("tx.req_prod")
    if fails:
        t.check(not entries and now == sent and count == base & MASK and not front.now("sent"), f"{who}: it is refused, and something has changed",
                "nothing", f"{len(entries)} entries, {len(now) - len(sent)} pages, req_prod {count:x}, sent {front.now('sent')}")
        return
    t.check(count == base + 1 & MASK, f"{who}: it is not on the ring", f"req_prod {base + 1 & MASK:x}", f"{count:x}")
    t.check(set(entries) == {base % RING}, f"{who}: other places of the ring have changed", [base % RING], sorted(entries))
    gref, offset, flags, ident, length = GOES.unpack(entries[base % RING])
    t.check((offset, flags, ident, length) == (0, 0, number, size), f"{who}: its request says something else (offset, flags, id, size)", (0, 0, number, size),
            (offset, flags, ident, length))
    t.check(list(front.granted) == [gref], f"{who}: its request names another grant than it was given", list(front.granted), gref)
    t.check(now == sent | {number: gref}, f"{who}: f->sent_ref has something else", f"page {number}: {gref}", {n: now.get(n) for n in set(now) ^ set(sent) | {number}})
    look_at_grants(front, who, {gref: front.page("sent", number)}, True)
    t.check(front.now("sent") == 1, f"{who}: f->sent counts it otherwise", 1, front.now("sent"))


def look_at_grants(front, who, pages, readonly):
    """What is granted to whom."""
    for ref, (page, domain, read_alone) in front.granted.items():
        front.t.check(page == pages[ref], f"{who}: another page is granted", f"{pages[ref]:x}", f"{page:x}")
        front.t.check(domain == front.peer, f"{who}: a page is granted to another domain", f"d{front.peer}", f"d{domain}")
        front.t.check(read_alone == readonly, f"{who}: a page is granted otherwise", "to read alone" if readonly else "to write",
                      "to read alone" if read_alone else "to write")


def one_room(front, have, left, stuck=(), keeps=False):
    """net_push(), where the other end has so much room. stuck: how far from req_prod on are pages whose grants have not ended."""
    t, base = front.t, some_base(front.rng)
    room = front.refs([(base - 1 - n) % ROOM for n in range(have)])
    more = front.refs([(base + n) % ROOM for n in stuck if have + n < ROOM])
    front.put((0, 0, 0), (base, base - have, 0), None, room | more)
    front.left, front.keeps = left, set(more.values()) if keeps else set()
    front.call("net_push")
    stop = min([n for n in stuck if have + n < ROOM], default=ROOM) if keeps else ROOM
    count = min(ROOM - have, left, stop)
    lies = keeps and bool(more) and stop == count and count < ROOM - have and (left > count or stop == count)
    who = (f"net_push(), where the other end has {have} of {ROOM} pages, with {left} grants"
           + f", and grants of {len(more)} pages that {'it keeps' if keeps else 'were not ended yet'}" * bool(more))
    entries, now, prod = front.entries("rx"), front.now("room_ref"), front.now("rx.req_prod")
    t.check(prod == base + count & MASK, f"{who}: it has other room then", f"{have + count} pages", f"{have + (prod - base & MASK)} pages")
    t.check(set(entries) == {(base + n) % RING for n in range(count)}, f"{who}: other places of the ring have changed", count, len(entries))
    pages = {}
    for n in range(count):
        ident, _, gref = GIVES.unpack(entries[(base + n) % RING])
        number = (base + n) % ROOM
        t.check(ident == number, f"{who}: a request has another number", number, ident)
        t.check(gref in front.granted and gref not in pages, f"{who}: a request names another grant than it was given, one for each", "one of its own", gref)
        t.check(now.get(number) == gref, f"{who}: f->room_ref has something else", f"page {number}: {gref}", now.get(number))
        pages[gref] = front.page("room", number)
    t.check(len(front.granted) == count, f"{who}: it grants more than it says", count, len(front.granted))
    look_at_grants(front, who, pages, False)
    t.check(front.now("lies") == lies, f"{who}: f->lies is something else", lies, front.now("lies"))
    word, = struct.unpack("<I", front.client.read(front.memory + AT["memory.rx"] + AT["req_prod"], 4))
    t.check(word == prod, f"{who}: what is there is not pushed", f"{prod:x}", f"{word:x}")


def sent(t):
    """Frames that go, and room for those that come."""
    def look(guest):
        front, rng = Front(t, guest), t.rng
        every = list(range(1, SENT + 1))
        for out, left in (([], 9), (every[:-1], 9), (every, 9), ([], 0), ([1, 2, 5], 1), ([SENT], 3)):
            one_sent(front, out, left, rng.choice((14, 60, 1514)))
        one_sent(front, [3], 9, 100, mine=CLOSED)
        one_sent(front, [3], 9, 100, lies=True)
        for _ in range(10):
            one_sent(front, rng.sample(every, rng.randrange(SENT)), rng.choice((0, 1, 50)), rng.randrange(14, 1515))
        for have, left in ((0, 99), (ROOM, 9), (ROOM - 1, 9), (0, 0), (ROOM // 2, 5)):
            one_room(front, have, left)
        for _ in range(4):
            one_room(front, rng.randrange(ROOM + 1), rng.choice((99, rng.randrange(40))))
        one_room(front, 10, 99, stuck=(0, 5))
        one_room(front, 10, 99, stuck=(0,), keeps=True)
        one_room(front, 40, 99, stuck=(7, 9), keeps=True)

    within(t, look, "pv-net")


# -- answers -----------------------------------------------------------------------------------------------


def one_answered(front, out, answers, who, keeps=None, bad=None, count=None):
    """net_sent_all(). out: how many frames have no answer; answers: [(number, status)], of which the first `bad` are believed. A number is
    the n-th frame's; or in a tuple: as it is, or so much more than the n-th frame's."""
    t, base = front.t, some_base(front.rng)
    numbers = [(base - 1 - n) % SENT for n in range(out)][::-1]
    refs = front.refs(numbers)
    answers = [(numbers[n] if isinstance(n, int) else n[0] + (numbers[n[1]] if n[1:] else 0), status) for n, status in answers]
    front.put((base, base - out, len(answers) if count is None else count), (0, 0, 0), refs, dict.fromkeys(range(ROOM), 77))
    front.keeps = {refs[numbers[keeps]]} if keeps is not None else set()
    for n, (ident, status) in enumerate(answers):
        front.client.write(front.place("tx", base - out + n), SAYS.pack(ident, status) + front.rng.randbytes(TX - SAYS.size))
    got = front.call("net_sent_all") & 0xFF
    who = f"{who}, to {out} frames that are on their way"
    good = answers[:bad] if bad is not None else answers
    lies, now = bad is not None, front.now("sent_ref")
    t.check(sorted(front.ended) == sorted(refs[n] for n, _ in good), f"{who}: the grants of other pages have ended (refs_end())",
            f"of the pages {[n for n, _ in good]}", front.pages_of(front.ended, refs))
    t.check(now == {n: ref for n, ref in refs.items() if n not in dict(good)}, f"{who}: other pages are with the other end then",
            sorted(n for n in refs if n not in dict(good)), sorted(now))
    t.check(front.now("lies") == lies, f"{who}: f->lies is something else", lies, front.now("lies"))
    failed = sum(1 for _, status in good if status)
    t.check(front.now("failed") == failed, f"{who}: f->failed counts otherwise", failed, front.now("failed"))
    if not lies:
        t.check(front.now("tx.rsp_cons") == base - out + len(answers) & MASK, f"{who}: another number is taken off the ring", len(answers),
                signed(front.now("tx.rsp_cons") - base + out))
        t.check(bool(got) == (out == len(answers)), f"{who}: net_sent_all() says something else", out == len(answers), bool(got))


def some_answers(front):
    """net_sent_all(), of all kinds."""
    rng = front.rng
    for _ in range(8):
        out = rng.choice((1, 2, 7, SENT))
        some = rng.sample(range(out), rng.randrange(out + 1))
        one_answered(front, out, [(n, rng.choice((0, 0, -1, -2, 1))) for n in some], f"{len(some)} answers")
    for ident, words in ((SENT, "32, which is no page"), (40, "40"), (65535, "65535"), (SENT + ROOM + 40, "far behind all pages")):
        one_answered(front, 9, [(2, 0), ((ident,), 0), (4, 0)], f"an answer to page {words}, between two good ones", bad=1)
    for more in (SENT, 2 * SENT, ROOM + SENT, 256, 1 << 15):
        one_answered(front, 9, [(2, 0), ((more, 5), 0), (4, 0)], f"an answer to a page whose number is {more} more than that of a frame on its way, between two good ones", bad=1)
    one_answered(front, 9, [(2, -1), (2, 0), (4, 0)], "two answers to one frame, and one to another one", bad=1)
    one_answered(front, 9, [(5, 0), (3, 0), (4, 0)], "an answer to a frame whose page the other end keeps, between two good ones", keeps=3, bad=1)
    one_answered(front, 3, [(0, 0)], "more answers than frames", bad=0, count=4)
    one_answered(front, 3, [(0, 0)], "far more answers than frames", bad=0, count=1 << 31)


def one_came(front, answers, who, keeps=None, lies=False, count=None):
    """net_take(), until there is no frame more. answers: [(id behind the right one, offset, flags, status)]; `lies`: the last one does."""
    t, base = front.t, some_base(front.rng)
    have = max(len(answers), front.rng.choice((10, ROOM)))
    first = base - have & MASK
    room = front.refs([(first + n & MASK) % ROOM for n in range(have)])
    front.put((0, 0, 0), (base, first, len(answers) if count is None else count), None, room)
    front.left, front.keeps = 0, {room[(first + keeps) % ROOM]} if keeps is not None else set()
    for n, (behind, offset, flags, status) in enumerate(answers):
        front.client.write(front.place("rx", first + n), COMES.pack(((first + n) % ROOM + behind) & 0xFFFF, offset, flags, status))
    good = [(n, one) for n, one in enumerate(answers[:-1] if lies else answers) if one[3] > 0]
    where, found = front.guest.stack - 0x800, []
    for _ in range(len(good) + 2):
        front.client.write(where, bytes(8))
        at = front.call("net_take", where)
        if not at:
            break
        found.append((at, struct.unpack("<Q", front.client.read(where, 8))[0]))
        number = len(found) - 1
        t.check(number < len(good), f"{who}: there is one frame more than have come", f"{len(good)} frames", f"page {(at - front.page('room', 0)) // PAGE}, {found[-1][1]} bytes")
        n, (_, offset, _, status) = good[number]
        page = (first + n) % ROOM
        t.check(found[-1] == (front.page("room", page) + offset, status), f"{who}: another frame is taken (page, offset, bytes)", (page, offset, status),
                ((at - front.page("room", 0)) // PAGE, at % PAGE, found[-1][1]))
        t.check(room[page] in front.ended, f"{who}: a frame is taken from a page that the other end has still", "its grant has ended", "it has not")
    t.check(len(found) == len(good), f"{who}: fewer frames are taken than have come", len(good), len(found))
    t.check(front.now("lies") == lies, f"{who}: f->lies is something else", lies, front.now("lies"))
    done = {room[(first + n) % ROOM] for n in range(len(answers) - lies)}
    last = {room[(first + len(answers) - 1) % ROOM]} if lies and answers else set()
    t.check(done <= set(front.ended) <= done | last, f"{who}: the grants of other pages have ended (refs_end())", front.pages_of(sorted(done), room),
            front.pages_of(front.ended, room))
    t.check(front.now("got") == len(good), f"{who}: f->got counts otherwise", len(good), front.now("got"))
    if not lies:
        event, = struct.unpack("<I", front.client.read(front.memory + AT["memory.rx"] + AT["rsp_event"], 4))
        wanted = first + len(answers) + 1 & MASK
        t.check(event == wanted, f"{who}, and there is none more: the next one does not ring", f"rsp_event {wanted:x}", f"{event:x}")


def some_frames(front):
    """net_take(), of all kinds."""
    rng = front.rng

    def fine(n=3):
        found = []
        for _ in range(n):
            size = rng.randrange(14, 1515)
            found.append((0, rng.choice((0, 2, PAGE - size)), rng.choice((0, VALID)), size))
        return found

    for n in (0, 1, 5, 10):
        one_came(front, fine(n), f"{n} frames that have come")
    one_came(front, [*fine(2), (0, 0, 0, -1), (0, 65535, 0, -2), (0, 0, 0, 0), *fine(2)], "frames, between which there is room that was not used")
    for one, words in (((1, 0, 0, 60), "in the next one's place"), ((-1, 0, 0, 60), "in the last one's place"), ((ROOM, 0, 0, 60), "of a number that is no page's"),
                       ((0, 0, MORE, 60), "that goes on in another page"), ((0, 0, EXTRA, 60), "with extras"), ((0, 0, BLANK, 60), "without a checksum"),
                       ((0, 0, 0, PAGE + 1), "longer than a page"), ((0, PAGE - 59, 0, 60), "one byte over its page's end"), ((0, 65535, 0, 1), "far behind its page"),
                       ((0, PAGE, 0, 32767), "as long as can be said")):
        one_came(front, [*fine(2), one], f"two frames that have come, and one {words}", lies=True)
    one_came(front, fine(3), "two frames that have come, and one in a page that the other end keeps", keeps=2, lies=True)
    one_came(front, [], "more frames than there is room for", lies=True, count=ROOM + 1)


def changed(front):
    """Answers that are others behind each access to them."""
    t, guest = front.t, front.guest
    instead = {"refs_grant": front.grant, "refs_end": front.end, "pv_send": front.ring}
    where = guest.stack - 0x800
    good, bad = (0, 100, 0, 200), (0, 4000, 0, 200)
    for was, then, words in ((good, (0, 4090, 0, 60), "over its page's end"), (good, (0, 0, 0, 32767), "far too long"), (good, (0, 65000, 0, 60), "far behind its page"),
                             (good, (7, 0, 0, 60), "another one's"), (bad, good, "good"), ((0, 0, 0, 32767), good, "good")):
        for behind in (1, 2, 3, 4, 5):
            base = some_base(front.rng)
            first, page = base - ROOM & MASK, base % ROOM
            room = front.refs([(first + n & MASK) % ROOM for n in range(ROOM)])
            front.put((0, 0, 0), (base, first, 1), None, room)
            front.left = 0
            place = front.place("rx", first)
            front.client.write(place, COMES.pack(page, *was[1:]))
            later = COMES.pack(page + then[0] & 0xFFFF, *then[1:])
            at, _ = guest.changed("net_take", front.at, where, instead=instead, place=place, behind=behind, data=later)
            size, = struct.unpack("<Q", front.client.read(where, 8))
            who = f"a frame that has come, whose answer (offset {was[1]}, {was[3]} bytes) becomes {words} behind access {behind} to it"
            if at:
                start = front.page("room", page)
                t.check(start <= at and at + size <= start + PAGE, f"{who}: what is taken lies outside of its page", "it lies in it, or is a lie",
                        f"{at - start} bytes behind its begin, {size} bytes")
                t.check(front.ended == [room[page]], f"{who}: other grants have ended", "its own", front.ended)
            else:
                t.check(front.now("lies"), f"{who}: it is neither taken nor a lie", "one of both", "none")
    for was, then, words in ((4, SENT + 3, "of no page"), (4, 60000, "of no page"), (4, 9, "of another page"), (SENT + 3, 4, "of page 4")):
        for behind in (1, 2, 3):
            base = front.rng.getrandbits(27) * SENT + 8
            refs = front.refs(range(8))
            front.put((base, base - 8, 1), (0, 0, 0), refs, dict.fromkeys(range(ROOM), 77))
            place = front.place("tx", base - 8)
            front.client.write(place, SAYS.pack(was, 0))
            guest.changed("net_sent_all", front.at, instead=instead, place=place, behind=behind, data=SAYS.pack(then, 0))
            who = f"an answer to page {was}, which becomes one {words} ({then}) behind access {behind} to it"
            now = front.now("sent_ref")
            t.check(sorted(front.ended) == sorted(ref for n, ref in refs.items() if n not in now), f"{who}: what has ended, and which pages are here, are two things",
                    "the same", front.ended)
            t.check(set(now) <= set(refs) and len(now) == 8 - (not front.now("lies")), f"{who}: other pages are here then, or f->lies", "one page, or a lie",
                    sorted(set(refs) ^ set(now)))


def returned(t):
    """Answers of all kinds, lies among them, and such as change meanwhile."""
    def look(guest):
        front = Front(t, guest)
        some_answers(front)
        some_frames(front)
        changed(front)

    within(t, look, "pv-net")


# -- the network -------------------------------------------------------------------------------------------


def echoed(t):
    """Frames from the network to a front end of the student's, which sends them back."""
    mac = mac_of(t.rng)
    with Cable(t, ("pv-net",), {"b.cfg": config("b", mac, "10.0.2.8", "serve whole")}) as cable:
        cable.begin()
        cable.type("create b.cfg", b"ready> ")
        sizes = [60, 1514, *(t.rng.randrange(60, 1515) for _ in range(94))]
        cable.returned([cable.frame(mac, size) for size in sizes], "a frame from the network to pv-net, which is to send it back")
