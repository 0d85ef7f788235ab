"""Lab 7.5 by itself: the policy is asked who comes next, of accounts and threads that the grader has made.

It knows of each account what it has and owes; who is chosen must be one that comes first by that.
"""

import struct

from zeno.judging import headers

from .lab4 import word
from .lab6a import invoke
from .lab7time import ROOM, stands

HEADERS = ("kern/thread.h", "kern/sched/sched.h")
(CHARGE, CHOOSE, WAKES, STATE, NEXT, OWN, ACCOUNT, WOKEN, SIZE, WEIGHT, THREADS, CREDIT, BEHIND, READY, BLOCKED, MOST) = headers.numbers(HEADERS, (
    *(f"offsetof(struct policy, {name})" for name in ("charge", "choose", "wakes")),
    *(f"offsetof(struct thread, {name})" for name in ("state", "next", "own", "account", "woken")), "sizeof(struct thread)",
    *(f"offsetof(struct account, {name})" for name in ("weight", "threads", "credit", "next")), "THREAD_READY", "THREAD_BLOCKED", "WEIGHT_MAX"))
UNIT = 39063
"""ns of a round, of one of the weight: credit.c."""
MS = 1_000_000
STEPS = 100


class Account:
    def __init__(self, weight):
        self.part, self.has = weight * UNIT, 0


class Thread:
    """One that is in the machine's memory at this address."""

    def __init__(self, name, at, account, home):
        self.name, self.at, self.account, self.home = name, at, account, home
        self.ready, self.woken = True, False

    def rank(self):
        """As the table above the policy says."""
        return 0 if self.account.has <= 0 else 1 + self.woken


class Sched:
    """Five threads, of which two have one account."""

    def __init__(self, t, client, stack, weights):
        self.t, self.client, self.stack, self.last = t, client, stack, None
        self.policy = t.symbol("policy_credit")
        base = stack - ROOM
        self.threads = []
        for n, weight in enumerate(weights):
            at = base + SIZE * n
            shares = n and n == len(weights) - 1
            mine = self.threads[0] if shares else None
            self.threads.append(Thread(f"d{n}", at, mine.account if mine else Account(weight), mine.at + OWN if mine else at + OWN))
            client.write(at, bytes(SIZE))
            client.write(at + OWN + WEIGHT, struct.pack("<II", weight, 0 if mine else 2 if n == 0 else 1))
        own = [one for one in self.threads if one.home == one.at + OWN]
        for one, behind in zip(own, [*own[1:], None]):
            client.write(one.home + BEHIND, struct.pack("<Q", behind.home if behind else 0))
        client.write(t.symbol("sched_accounts"), struct.pack("<Q", own[0].home))
        self.show()

    def show(self):
        """What the policy finds."""
        for one, behind in zip(self.threads, [*self.threads[1:], None]):
            self.client.write(one.at + NEXT, struct.pack("<Q", behind.at if behind else 0))
            self.client.write(one.at + ACCOUNT, struct.pack("<Q", one.home))
            self.client.write(one.at + STATE, struct.pack("<I", READY if one.ready else BLOCKED))
            self.client.write(one.at + WOKEN, bytes([one.woken]))

    def asked(self, field, *args):
        """One of its functions."""
        return invoke(self.t, self.client, self.stack - ROOM - 64 & ~15, word(self.client, self.policy + field), *args)["rax"]

    def words(self):
        """Who is there."""
        return ", ".join(f"{one.name} {'has slept, ' * one.woken}has {one.account.has / MS:.1f} of {one.account.part / MS:.1f} ms" for one in self.threads
                         if one.ready) or "nobody is ready"

    def round(self):
        """Rounds, if nobody who is ready has anything."""
        ready = [one.account for one in self.threads if one.ready]
        if not ready or any(one.has > 0 for one in ready):
            return
        rounds = min(-one.has // one.part + 1 for one in ready)
        for one in {id(one.account): one.account for one in self.threads}.values():
            one.has = min(one.has + rounds * one.part, one.part)

    def turn(self):
        """Who comes next; None: nobody."""
        t, before = self.t, self.words()
        self.show()
        at = self.asked(CHOOSE, self.threads[0].at, self.last.at if self.last else 0)
        found = next((one for one in self.threads if one.at == at), None)
        ready = [one for one in self.threads if one.ready]
        t.check(found or not at, f"{before}: it chooses what is no thread", "one of them", f"{at:x}")
        t.check(found or not ready, f"{before}: it chooses nobody, though one is ready", ", ".join(one.name for one in ready), "nobody")
        if not found:
            return None
        t.check(found.ready, f"{before}: it chooses {found.name}, which is not ready", ", ".join(one.name for one in ready) or "nobody", found.name)
        self.round()
        best = max(one.rank() for one in ready)
        t.check(found.rank() == best, f"{before}: it chooses {found.name}, which does not come first",
                " or ".join(one.name for one in ready if one.rank() == best), found.name)
        self.last = found
        return found

    def pays(self, one, ns):
        """Its turn is over."""
        self.asked(CHARGE, one.home, ns)
        one.account.has -= ns
        one.woken = False

    def wakes(self, one):
        """Whether a turn is to end for it, asked while it sleeps, as thread.c does; and it is ready again."""
        self.show()
        got, want = self.asked(WAKES, one.at) & 0xFF, one.account.has > 0
        self.t.check(bool(got) == want, f"{one.name} wakes, and has {one.account.has / MS:.3f} ms: a turn {'does not end' if want else 'ends'} for it",
                     want, bool(got))
        one.woken = one.ready = True


def in_turn(s):
    """All begin as equals, and nobody pays: each has a turn before one has two. So it is among those that have slept."""
    for start, woken in ((None, False), (s.threads[2], False), (s.threads[-1], False), (s.threads[1], True)):
        s.last = start
        for one in s.threads:
            one.woken = woken
        had = [s.turn().name for _ in range(2 * len(s.threads))]
        s.t.check(sorted(had[:5]) == sorted(had[5:]) == sorted(one.name for one in s.threads), "of five that are equals one has two turns "
                  "before another has one", "each in turn", ", ".join(had))


def lengths(rng, account):
    """Turns end by a tick, before it, or late; with nothing left, with a debt of whole rounds, or of more than 2^32 ns."""
    return rng.choice((10 * MS, 10 * MS, rng.randrange(1, 10 * MS), max(1, min(account.has, 10 * MS)), 300, rng.randrange(10 * MS, 40 * MS),
                       max(1, account.has + account.part * rng.randrange(1, 4)), rng.randrange(4000 * MS, 9000 * MS)))


def at_random(s, rng):
    """Turns of any length; they sleep and wake; and who had the last turn may have gone."""
    for step in range(STEPS):
        if rng.random() < .1:  # nobody
            for one in s.threads:
                one.ready = False
            s.turn()
            s.wakes(rng.choice(s.threads))
        one = s.turn()
        s.pays(one, lengths(rng, one.account))
        s.last = rng.choice((s.last, s.last, s.last, None))
        one.ready = rng.random() < .7
        for other in s.threads:
            if not other.ready and rng.random() < .3:
                s.wakes(other)
        if not any(other.ready for other in s.threads):
            s.wakes(one)


def by_itself(t, client, stack):
    """Weights as they are used, and the lightest and the heaviest together."""
    for weights in ([t.rng.choice((128, 256, 300, 512)) for _ in range(4)], [1, t.rng.randrange(2, 40), MOST, 256]):
        s = Sched(t, client, stack, [*weights, weights[0]])
        in_turn(s)
        at_random(s, t.rng)


def choices(t):
    """The policy by itself."""
    stands(t, by_itself)
