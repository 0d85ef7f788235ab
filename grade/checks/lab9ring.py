"""Lab 9.2: the ring's indices.

The six functions are called where the machine stands, and each of their loads, stores and fences is done here: so every word can be any
at any moment. What a function does next depends on what it has loaded alone; once that is known, both ends are played here in all
orders, each on a CPU whose stores wait. Xen's macros (io/ring.h) say what is right.
"""

import struct

from zeno.judging import headers

from .lab9 import within

F_SIZE, F_REQ, F_RSP, B_SIZE, B_REQ, B_RSP, LIES = headers.numbers(("guest/pv/drivers/ring.h",), (
    "offsetof(struct ring_front, size)", "offsetof(struct ring_front, req_prod)", "offsetof(struct ring_front, rsp_cons)",
    "offsetof(struct ring_back, size)", "offsetof(struct ring_back, req_cons)", "offsetof(struct ring_back, rsp_prod)", "RING_LIES"))
LIES &= 0xFFFFFFFF
WORDS = ("req_prod", "req_event", "rsp_prod", "rsp_event")
REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT = range(4)
MASK = 0xFFFFFFFF
OF_FRONT = ("ring_push_requests", "ring_responses", "ring_last_responses")
OF_BACK = ("ring_push_responses", "ring_requests", "ring_last_requests")
MANY = 12
"""Loads and stores of one call, beyond which it does not come back."""


class Cut(Exception):
    """It loads a word of which nobody has said what is there."""


class Functions:
    """The six functions, whose every access is done here."""

    def __init__(self, t, guest):
        self.t, self.guest, self.client = t, guest, guest.client
        self.struct, self.page = guest.room, guest.room + 0x100
        self.nonsense = t.rng.randbytes(64)
        self.client.write(self.page, self.nonsense)
        self.known, self.did = {}, []
        guest.keep("ring_load", "ring_store", "ring_fence")

    def word(self, name, at):
        """The number of a word that it names."""
        n, rest = divmod(at - self.page, 4)
        self.t.check(not rest and 0 <= n < 4, f"{name}() loads or stores what is none of the ring's four words", " ".join(WORDS), f"{at - self.page:+d}")
        return n

    def run(self, name, fields, load):
        """(what it did, what it gives back, its own indices then): fields are the size and the two indices; load(word, times) is asked what is
        there."""
        did, times, places = self.did, [0] * 4, (F_SIZE, F_REQ, F_RSP) if name in OF_FRONT else (B_SIZE, B_REQ, B_RSP)
        did.clear()
        raw = bytearray(struct.pack("<Q", self.page) + bytes(16))
        for place, value in zip(places, fields):
            struct.pack_into("<I", raw, place, value & MASK)
        self.client.write(self.struct, bytes(raw))

        def loads(regs):
            n = self.word(name, regs["rdi"])
            times[n] += 1
            self.t.check(len(did) < MANY, f"{name}() goes on and on", "it comes back", f"{len(did)} loads, stores and fences")
            did.append(("load", n))
            return load(n, times[n])

        def stores(regs):
            n = self.word(name, regs["rdi"])
            self.t.check(len(did) < MANY, f"{name}() goes on and on", "it comes back", f"{len(did)} loads, stores and fences")
            did.append(("store", n, regs["rsi"] & MASK))

        got = self.guest.call(name, self.struct, instead={"ring_load": loads, "ring_store": stores, "ring_fence": lambda regs: did.append(("fence",))})
        now = self.client.read(self.page, 64)
        self.t.check(now == self.nonsense, f"{name}() writes into the page, and not by ring_store()", "the words as they were", now[:16].hex())
        after = self.client.read(self.struct, len(raw))
        return list(did), got & (0xFF if "push" in name else MASK), tuple(struct.unpack_from("<I", after, place)[0] for place in places)

    def next(self, name, fields, loads):
        """(stores and fences, then ("load", word) or ("back", result, indices)): what it does behind these loads."""
        key = name, fields, loads
        if key not in self.known:
            given = list(loads)

            def load(_word, _times):
                if not given:
                    raise Cut()
                return given.pop(0)

            try:
                did, got, after = self.run(name, fields, load)
                last = "back", got, after
            except Cut:
                did, last = list(self.did), None
            seen, behind = 0, []
            for one in did:
                if seen == len(loads) and one[0] != "load":
                    behind.append(one)
                elif seen == len(loads):
                    last = one
                    break
                seen += one[0] == "load"
            self.known[key] = tuple(behind), last
        return self.known[key]


# -- each by itself ----------------------------------------------------------------------------------------


def by_xen(name, fields, words, later):
    """What Xen's macros say: (the result, the words then). `later`: what a word is at a second look."""
    size, one, two = fields
    words = list(words)
    prod, event = (REQ_PROD, REQ_EVENT) if "requests" in name else (RSP_PROD, RSP_EVENT)
    if "push" in name:
        now, before = (one if name in OF_FRONT else two), words[prod]
        words[prod] = now
        return int((now - words[event] & MASK) < (now - before & MASK)), words
    cons, most = (two, one - two) if name in OF_FRONT else (one, size - (one - two))
    count = words[prod] - cons & MASK
    if count or "last" not in name:
        return (LIES if count > most & MASK else count), words
    words[event] = cons + 1 & MASK
    words[prod] = later
    count = later - cons & MASK
    return (LIES if count > most & MASK else count), words


def drawn(t, name, size):
    """Indices of an end's, and what stands in the page: near each other, or now and then anything."""
    rng = t.rng
    base = rng.choice((0, MASK, rng.getrandbits(32), 1 << 31)) + rng.randrange(-3, 3) & MASK
    used = rng.choice((0, size, rng.randrange(size + 1)))
    one, two = base + used & MASK, base
    cons, most = (two, used) if name in OF_FRONT else (one, size - used)

    def near(at):
        return at + rng.choice((0, 0, 1, most, most + 1, size, size + 1, rng.randrange(size + 2), rng.randrange(-size, size), rng.getrandbits(32))) & MASK
    words = [near(cons) for _ in WORDS]
    if "push" in name:
        now = one if name in OF_FRONT else two
        prod, event = (REQ_PROD, REQ_EVENT) if "requests" in name else (RSP_PROD, RSP_EVENT)
        words[prod] = now - rng.choice((0, 1, rng.randrange(size + 1))) & MASK
        words[event] = words[prod] + rng.choice((0, 1, 1, now - words[prod], now - words[prod] + 1, rng.randrange(-2, size + 2), rng.getrandbits(32))) & MASK
    later = cons + rng.choice((0, 1, most, most + 1, rng.randrange(size + 2))) & MASK
    return (size, one, two), words, later


def otherwise(name, got, right):
    """What a function says that is wrong, in words."""
    if "push" in name:
        return "it does not ring who waits for it" if right else "it rings who has not asked for it"
    if right == LIES:
        return "it believes what can't be"
    return "it calls a lie what is true" if got == LIES else "it counts others than there are"


def indices(t):
    """The six functions with indices and words of all kinds."""
    def look(guest):
        functions = Functions(t, guest)
        for name in [*OF_FRONT, *OF_BACK] * 45:
            size = t.rng.choice((2, 4, 32, 64))
            fields, words, later = drawn(t, name, size)
            now = list(words)
            prod = REQ_PROD if "requests" in name else RSP_PROD

            def load(word, times, now=now, prod=prod, later=later):
                if word == prod and times == 2:
                    now[word] = later
                return now[word]

            did, got, after = functions.run(name, fields, load)
            result, wanted = by_xen(name, fields, words, later)
            looks = [one for one in did if one == ("load", prod)]
            for one in did:
                if one[0] == "store":
                    now[one[1]] = one[2]
            own = ("req_prod", "rsp_cons") if name in OF_FRONT else ("req_cons", "rsp_prod")
            who = (f"{name}() of a ring of {size}, whose own {own[0]} is {fields[1]:x} and {own[1]} {fields[2]:x}, and in whose page is "
                   + ", ".join(f"{word} {value:x}" for word, value in zip(WORDS, words)))
            may = 2 if "last" in name else 1
            t.check(len(looks) <= may, f"{who}: it loads {WORDS[prod]} once too often: it may be another one each time", may, len(looks))
            if "last" in name and len(looks) == 2:
                who += f", and {later:x} when it looks once more"
            t.check(got == result, f"{who}: {otherwise(name, got, result)}", "RING_LIES" if result == LIES else result, "RING_LIES" if got == LIES else got)
            for word, value, right in zip(WORDS, now, wanted):
                words_of = "it asks to be rung by another one" if "event" in word else "the other end sees another number of them"
                t.check(value == right or len(looks) < 2 and word == WORDS[prod] and "last" in name, f"{who}: {words_of}, for {word} is another one",
                        f"{right:x}", f"{value:x}")
            t.check(after == tuple(value & MASK for value in fields), f"{who}: an index of its own has changed", fields, after)

    within(t, look)


# -- in all orders -----------------------------------------------------------------------------------------


class End:
    """One end as what it does next, which follows from where it stands: (what it is at, its two indices, how many it has asked or served,
    how many it has been answered or has still to serve, whether there is something to push, what the call has loaded, how much of what is behind that is done)."""

    def __init__(self, functions, size, messages, alone):
        self.functions, self.size, self.messages, self.alone = functions, size, messages, alone

    def calls(self, name, one, two, state):
        """What a call does next; or its result, if it is over."""
        loads, done = state[-2:]
        did, last = self.functions.next(name, (self.size, one, two), loads)
        if done < len(did):
            return did[done], state[:-1] + (done + 1,)
        if last[0] == "load":
            return last, state
        return last, None


class Front(End):
    """It asks for all that there is room for, pushes, and takes what has come, or sleeps."""

    def begin(self, base):
        return "ask", base, base, 0, 0, False, (), 0

    def next(self, state):
        """(what it does, the state behind that: of a load, but for its value)"""
        while True:
            at, prod, cons, asked, answered, new, loads, done = state
            if at == "ask":
                if answered == self.messages and asked == self.messages:
                    return ("end",), state
                if asked < self.messages and self.size - (prod - cons & MASK):
                    return ("store", 4 + prod % self.size, 100 + asked), ("push" if self.alone else "ask", prod + 1 & MASK, cons, asked + 1, answered, True, (), 0)
                state = ("push" if new else "look", prod, cons, asked, answered, False, (), 0)
            elif at == "push":
                what, then = self.calls("ring_push_requests", prod, cons, state)
                if then is not None:
                    return what, then
                state = ("ask" if self.alone else "look", prod, cons, asked, answered, False, (), 0)
                if what[1]:
                    return ("ring",), state
            elif at == "look":
                what, then = self.calls("ring_last_responses", prod, cons, state)
                if then is not None:
                    return what, then
                state = (what[1] if what[1] == LIES else ("take", what[1]) if what[1] else "sleep", prod, cons, asked, answered, False, (), 0)
            elif at == LIES:
                return ("wrong", "the front end finds that the back end lies"), state
            elif at == "sleep":
                return ("sleep",), ("ask", *state[1:])
            elif not at[1]:
                state = ("ask", *state[1:])
            elif loads:
                if loads[0] != 200 + answered:
                    return ("wrong", "the front end takes an answer that is none"), state
                state = (("take", at[1] - 1), prod, cons + 1 & MASK, asked, answered + 1, False, (), 0)
            else:
                return ("load", 4 + cons % self.size), state


class Back(End):
    """It serves what is there, pushes answers, or sleeps."""

    def begin(self, base):
        return "look", base, base, 0, 0, False, (), 0

    def next(self, state):
        """As the front end's."""
        while True:
            at, cons, prod, served, left, _, loads, done = state
            if at == "look":
                if served == self.messages:
                    return ("end",), state
                what, then = self.calls("ring_last_requests", cons, prod, state)
                if then is not None:
                    return what, then
                state = (what[1] if what[1] == LIES else "serve" if what[1] else "sleep", cons, prod, served, what[1], False, (), 0)
            elif at == LIES:
                return ("wrong", "the back end finds that the front end lies"), state
            elif at == "sleep":
                return ("sleep",), ("look", *state[1:])
            elif at == "serve":
                if not left:
                    state = ("look", *state[1:])
                elif not loads:
                    return ("load", 4 + cons % self.size), state
                elif loads[0] != 100 + served:
                    return ("wrong", "the back end takes a request that is none"), state
                else:
                    then = "push" if self.alone or left == 1 else "serve"
                    return ("store", 4 + prod % self.size, 200 + served), (then, cons + 1 & MASK, prod + 1 & MASK, served + 1, left - 1, False, (), 0)
            elif at == "push":
                what, then = self.calls("ring_push_responses", cons, prod, state)
                if then is not None:
                    return what, then
                state = ("serve", cons, prod, served, left, False, (), 0)
                if what[1]:
                    return ("ring",), state


BUFFER = 8


class Machine:
    """Two ends on two CPUs: (the words, then of each end: its state, what it has stored and nobody else sees, whether it was rung)."""

    def __init__(self, ends, size):
        self.ends, self.size = ends, size
        self.known = {}

    def begin(self, base):
        """Before anybody has done anything."""
        words = (base, base + 1 & MASK, base, base + 1 & MASK, *[0] * self.size)
        return words, (self.ends[0].begin(base), (), False), (self.ends[1].begin(base), (), False)

    def next(self, n, state):
        """What an end does next."""
        key = n, state
        if key not in self.known:
            self.known[key] = self.ends[n].next(state)
        return self.known[key]

    def moves(self, state):
        """[(whose, what, the state then)]; None: all is over. What the other one can't see, nor its time, is the only one."""
        words, *ends = state
        acts = [self.next(n, end[0]) for n, end in enumerate(ends)]
        for n, ((what, *_), _) in enumerate(acts):
            buffer = ends[n][1]
            if what == "store" and len(buffer) < BUFFER or what == "fence" and not buffer:
                return [self.does(state, n, *acts[n])]
        found = []
        for n, (act, then) in enumerate(acts):
            if (done := self.does(state, n, act, then)) is not None:
                found.append(done)
            if ends[n][1]:
                (word, value), *rest = ends[n][1]
                found.append((n, ("seen", word), self.put(state, n, ends[n][0], tuple(rest), ends[n][2], words[:word] + (value,) + words[word + 1:])))
        if not found and all(act[0] == "end" for act, _ in acts):
            return None
        return found

    @staticmethod
    def put(state, n, *parts):
        """The state with another end in it; its other words, if there are some."""
        one = parts[:3]
        words = parts[3] if len(parts) > 3 else state[0]
        return (words, one, state[2]) if n == 0 else (words, state[1], one)

    def does(self, state, n, act, then):
        """(whose, what, the state then); None: it can't, for now."""
        words, (_, buffer, rung) = state[0], state[1 + n]
        what = act[0]
        if what == "load":
            value = next((value for word, value in reversed(buffer) if word == act[1]), words[act[1]])
            return n, act, self.put(state, n, then[:-2] + (then[-2] + (value,), 0), buffer, rung)
        if what == "store" and len(buffer) < BUFFER:
            return n, act, self.put(state, n, then, (*buffer, act[1:]), rung)
        if what == "fence" and not buffer:
            return n, act, self.put(state, n, then, buffer, rung)
        if what == "ring" and not buffer:
            there = self.put(state, n, then, buffer, rung)
            other = there[2 - n]
            return n, act, self.put(there, 1 - n, other[0], other[1], True)
        if what == "sleep" and rung:
            return n, act, self.put(state, n, then, buffer, False)
        if what == "wrong":
            return n, act, None
        return None


def in_words(n, act):
    """A line of a schedule."""
    who = "back" if n else "front"
    words = [*WORDS, *(f"slot {k}" for k in range(8))]
    if act[0] == "seen":
        return f"{who}'s {words[act[1]]} is seen"
    return f"{who} {act[0]}s" + (f" {words[act[1]]}" if len(act) > 1 and act[0] != "wrong" else "")


def schedule(before, state, more=()):
    """How a state is come to, and what then."""
    lines = list(more)
    while before[state] is not None:
        state, n, act = before[state]
        lines.append(in_words(n, act))
    lines.reverse()
    return "; ".join(lines)


def explore(t, functions, size, messages, alone):
    """All orders; how many states there are."""
    machine = Machine((Front(functions, size, messages, alone), Back(functions, size, messages, alone)), size)
    start = machine.begin(MASK)
    before, todo = {start: None}, [start]
    what = f"a ring of {size}, {messages} requests" + (", each pushed by itself" if alone else "")
    while todo:
        state = todo.pop()
        moves = machine.moves(state)
        if moves is None:
            continue
        t.check(moves, f"{what}: a wake-up is lost: both ends sleep, and not all is answered", "all is answered", schedule(before, state))
        for n, act, then in moves:
            t.check(act[0] != "wrong", f"{what}: {act[-1]}", "all is answered", schedule(before, state))
            if then not in before:
                before[then] = state, n, act
                todo.append(then)
    return len(before)


def orders(t):
    """Rings of two sizes, requests pushed together and each by itself."""
    def look(guest):
        functions = Functions(t, guest)
        for size, messages, alone in ((2, 3, False), (4, 5, False), (2, 3, True), (4, 3, True)):
            explore(t, functions, size, messages, alone)

    within(t, look)
