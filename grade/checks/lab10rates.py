"""Lab 10.4: how much a network card may send, and when it goes on.

Witnessed: the functions of share.h by themselves, of numbers that are drawn, beside what a rate and a turn are in whole numbers; netserve() of
the rings of two cards, turn by turn. And domains of the reference's that have a rate, by their own clock.
"""

import re
import struct

from zeno.judging import headers

from . import lab9
from .lab10 import MASK, mac_of, within
from .lab10back import RING, V_ALL, Back, Frame, said_by, with_dom0

SECOND = 10**9
WORDS = ("rate", "bytes", "since", "deficit")
TURN, BURST, FRAME, SHARE, SHARE_ALL, *AT = headers.numbers(("guest/dom0/share.h", "guest/dom0/netback.h"), (
    "SHARE_TURN", "SHARE_BURST", "SHARE_FRAME", "offsetof(struct vif, share)", "sizeof(struct share)", *(f"offsetof(struct share, {word})" for word in WORDS)))
AT = dict(zip(WORDS, AT))
RATES = (1, 3, 1000, 125_000, 1_250_000, 999_999_937, 12_500_000_000, 100_000_000_000)
"""Bytes a second: vifspec.c takes no more than the last one."""


def most(rate):
    """What a bucket holds."""
    return max(rate * BURST // SECOND, 2 * FRAME)


class Share:
    """A struct share that is made up."""

    def __init__(self, t, guest):
        self.t, self.guest, self.client, self.place = t, guest, guest.client, guest.room

    def put(self, **words):
        """All of it."""
        raw = bytearray(SHARE_ALL)
        for word in WORDS:
            struct.pack_into("<Q", raw, AT[word], words[word])
        self.client.write(self.place, bytes(raw))

    def now(self):
        """{word: its number}"""
        raw = self.client.read(self.place, SHARE_ALL)
        return {word: struct.unpack_from("<Q", raw, AT[word])[0] for word in WORDS}

    def call(self, name, *args):
        """One of its functions, with no part of dom0 beside it."""
        return self.guest.call(name, self.place, *args)


def spoken(words):
    """A state in words."""
    return f"a card of {words['rate']} bytes a second, {words['bytes']} in its bucket since {words['since']} ns, {words['deficit']} left of its turn"


def turned(share, rate, ns, bytes_=0, since=0, deficit=0):
    """share_turn(), so many ns later."""
    t, was = share.t, {"rate": rate, "bytes": bytes_, "since": since, "deficit": deficit}
    share.put(**was)
    share.call("share_turn", since + ns)
    got, who = share.now(), f"{spoken(was)}, whose turn it is {ns} ns later"
    t.check(got["deficit"] == min(deficit + TURN, 2 * TURN), f"{who}: what is left of its turns then", min(deficit + TURN, 2 * TURN), got["deficit"])
    t.check(got["rate"] == rate, f"{who}: it has another rate", rate, got["rate"])
    if not rate:
        return
    made, full = ns * rate // SECOND, most(rate)
    t.check(got["bytes"] == min(bytes_ + made, full), f"{who}: what its bucket has then", min(bytes_ + made, full), got["bytes"])
    low, high = since + made * SECOND // rate, since + -(-made * SECOND // rate)
    if bytes_ + made >= full:
        low, high = (low if bytes_ + made == full else since + ns), since + ns
    t.check(low <= got["since"] <= high, f"{who}: up to when it has been filled (s->since): the time of bytes that are not whole yet is not lost, nor used twice",
            low if low == high else f"{low} to {high}", got["since"])


def fills(share):
    """Buckets."""
    rng = share.t.rng
    for rate in RATES:
        since, full = rng.randrange(1, 1 << 50), most(rate)
        whole = -(-SECOND // rate)
        for ns in (0, 1, whole - 1, whole, 2 * whole - 1, rng.randrange(BURST), BURST, rng.randrange(SECOND), SECOND - 1, SECOND, 3 * SECOND + 1, 3600 * SECOND, 1 << 62):
            turned(share, rate, ns, rng.choice((0, 0, 1, full // 2)), since, rng.choice((0, 1000, TURN, 2 * TURN)))
        turned(share, rate, rng.randrange(SECOND), full, since)
        turned(share, rate, whole, full - 1, since)
        turned(share, rate, whole - 1, full - 1, since)
    turned(share, 100_000_000_000, 184_467_441, 0, 77)  # bytes times ns are a little more than 2^64
    for deficit in (0, 1, TURN - 1, TURN, TURN + 1, 2 * TURN):
        turned(share, 0, rng.randrange(SECOND), 0, 5, deficit)


def goes_on(share):
    """A card that is asked at times of all kinds, and always has a frame: what goes through in all."""
    t, rng = share.t, share.t.rng
    for rate, steps in ((1000, (400_000, 600_000)), (999_983, (100, 1900)), (12_500_000, (1_000, 400_000))):
        now = start = rng.randrange(1, 1 << 40)
        share.put(rate=rate, bytes=0, since=now, deficit=0)
        for _ in range(40):
            now += rng.randrange(*steps)
            share.call("share_turn", now)
        got, want = share.now()["bytes"], (now - start) * rate // SECOND
        t.check(abs(got - min(want, most(rate))) <= 1 + 40 * rate // SECOND, f"a card of {rate} bytes a second, which is asked 40 times in {now - start} ns: what has come into its bucket", want, got)


def takes(share):
    """share_takes()."""
    t, rng = share.t, share.t.rng
    for rate in (0, 1000):
        for size in (60, rng.randrange(61, FRAME), FRAME):
            for deficit in (0, size - 1, size, size + 1, TURN, 2 * TURN):
                for has in (0, size - 1, size, size + 1):
                    was = {"rate": rate, "bytes": has, "since": 99, "deficit": deficit}
                    share.put(**was)
                    got = share.call("share_takes", size) & 0xFF
                    good = deficit >= size and (not rate or has >= size)
                    who = f"{spoken(was)}, which has a frame of {size} bytes"
                    t.check(got == good, f"{who}: whether it goes now", "it does" if good else "it does not", "it does" if got else "it does not")
                    then = share.now()
                    if not rate:
                        then["bytes"] = has
                    want = was | ({"deficit": deficit - size, "bytes": has - size if rate else has} if good else {})
                    t.check(then == want, f"{who}: what is left behind it (turn, bucket)", (want["deficit"], want["bytes"]), (then["deficit"], then["bytes"]))


def waits(share):
    """share_until()."""
    t, rng = share.t, share.t.rng
    for rate in (0, *RATES):
        for size in (60, rng.randrange(61, FRAME), FRAME):
            for has in (0, 1, size - 1, size, size + 1, rng.randrange(size)):
                for deficit in (0, TURN):
                    was = {"rate": rate, "bytes": has, "since": rng.randrange(1, 1 << 50), "deficit": deficit}
                    share.put(**was)
                    want = was["since"] - (-(size - has) * SECOND // rate) if rate and has < size else 0
                    got = share.call("share_until", size)
                    t.check(got == want, f"{spoken(was)}, which has a frame of {size} bytes: when its rate lets it go (share_until(), ns)", want, got)
                    t.check(share.now() == was, f"{spoken(was)}: who asks how long changes it", was, share.now())


def counted(t):
    """The functions of share.h."""
    def look(guest):
        share = Share(t, guest)
        fills(share)
        goes_on(share)
        takes(share)
        waits(share)

    within(t, look, "dom0")


# -- two cards, and two domains ----------------------------------------------------------------------------


TURNS = 3


def by_turns(back, size):
    """netserve() of a ring that is always full of such frames: bytes that have gone behind each turn."""
    t, rng, went = back.t, back.rng, []
    back.put(0, 0)
    doing = back.instead(RING) | {"bridge_takes": lambda regs: 0}
    doing.pop("share_takes")
    frame = Frame(rng, [size])
    back.put_entries(0, frame.entries * RING)
    for _ in range(TURNS):
        back.guest.call("netserve", back.vif, instead=doing)
        went.append(back.now("tx_ring.req_cons") * size)
        back.put_entries(0, frame.entries * RING)
        t.check(not back.now("lies"), f"frames of {size} bytes, by turns: its ring is said to lie", False, True)
        t.check(back.now("tx_ring.req_cons") < RING * TURNS, f"frames of {size} bytes, by turns: all that are there go in one turn", f"{TURN} bytes", f"{went[-1]} bytes")
    return went


def late(back, rate):
    """netserve() of a card whose rate holds it back: when it is to be asked again."""
    t = back.t
    size, now = FRAME, back.rng.randrange(1, 1 << 40)
    back.put(0, 0)
    raw = bytearray(back.client.read(back.vif, V_ALL))
    for word, number in (("rate", rate), ("bytes", size - 1), ("since", now), ("deficit", 0)):
        struct.pack_into("<Q", raw, SHARE + AT[word], number)
    back.client.write(back.vif, bytes(raw))
    doing = back.instead(1) | {"pv_now": lambda regs: now}
    doing.pop("share_takes")
    back.put_entries(0, Frame(back.rng, [size]).entries)
    for ns, goes in ((0, False), (-(-SECOND // rate) - 1, False), (-(-SECOND // rate), True)):
        doing["pv_now"] = lambda regs, ns=ns: now + ns
        back.guest.call("netserve", back.vif, instead=doing)
        cons = back.now("tx_ring.req_cons")
        t.check((cons & MASK) == goes, f"a card of {rate} bytes a second, whose bucket is one byte short of the next frame, is asked {ns} ns later: whether it goes",
                "it does" if goes else "it does not", f"{cons} have gone")


def served(t):
    """Turns, and rates."""
    def look(guest):
        back = Back(t, guest)
        for size in (256, t.rng.randrange(300, 1400), FRAME):
            for n, went in enumerate(by_turns(back, size), 1):
                t.check(n * TURN - size < went <= n * TURN, f"a card that has always frames of {size} bytes, behind {n} turns: it has sent another number of bytes than its turns are",
                        f"{n * TURN}, and a frame less at most", went)
        for rate in (3, 999, 125_000):
            late(back, rate)

    within(t, look, "dom0")
    rates = {"slow": t.rng.randrange(60, 121) * 1000, "fast": t.rng.randrange(300, 601) * 1000}
    files = {f"{name}.cfg": (f"name = '{name}'\nkernel = 'pv-net'\nmemory = 8\nextra = 'ip=10.0.2.7 blast={BLAST}'\n"
                             f"vif = ['mac={mac_of(t.rng).hex(':')}, rate={rate}B/s']\n").encode() for name, rate in rates.items()}
    run, lives = with_dom0(t, [lab9.typed(*(step for name in rates for step in (f"create {name}.cfg", lab9.ENDS)), "halt")], files, icount=True)
    for name, rate in rates.items():
        said = said_by(t, run, lives, name)
        took = re.search(rf"^{BLAST} frames in (\d+) ms\r?$", said, re.M)
        t.check(took, f"a domain that sends {BLAST} frames by a card of {rate} bytes a second gets no further", "it says in which time", said[-300:])
        least = (BLAST * FRAME - most(rate)) * 1000 // rate
        t.check(least - 1 <= int(took[1]) <= least * 3 // 2 + 50, f"{BLAST} of the longest frames have gone by a card of {rate} bytes a second, in another time than its rate says",
                f"about {least} ms, by the domain's own clock", f"{took[1]} ms")
    t.orderly(run)


BLAST = 25
