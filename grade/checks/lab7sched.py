"""Lab 7.5: who has the CPU, by instructions that the plugin counts.

Each guest spins in a loop of its own, of 100 instructions, whose first one is watched (guest/pv/turns). With icount the
machine's time is its instructions: one is 16 ns, so 200 million of them are 320 ticks.
"""

from zeno.judging import evidence
from zeno.machines import machine

from .guests import module

WINDOW = 200_000_000
LOOP = 100
NEAR = 0.03
TICK = 625_000
"""Instructions of a tick. A turn is not divided: whoever is beyond its part, or short of it, may be so by a turn and a part of one."""
GREEDY = 0.1
"""What one that always wants the CPU may have less than its part, at the most, for all that it does beside spinning."""
WAYS = {"dodge": "that sleeps whenever the clock strikes", "yield": "that gives way after each hundred instructions",
        "wake": "that sleeps and wakes all the time", "self": "that sends itself events"}


def turns(t, guests, window=WINDOW):
    """What part of all instructions the loops had in this window, from the first one's first turn on, by (weight, way)."""
    elf = t.image.guests / "pv-turns.elf"
    symbols = evidence.Symbols(elf)
    watched = [symbols.address(f"spun_{n}") for n in range(1, 5)]
    starts = "; ".join(f"start pv-turns weight={weight} & -- {way}" for weight, way in guests)
    run = t.boot(f"panic=off -- {starts}", modules=[module(elf)], icount=True, shift=4, watch=watched, counted_from=watched[0],
                 limits=machine.Limits(instructions=window, cpu_seconds=20))
    if run.end is not machine.End.INSTRUCTIONS or not run.counts or not run.counts.total:
        t.orderly(run)
        t.fail("the machine switches itself off while guests run", "they go on", "off")
    return [LOOP * run.counts.watches[address] / run.counts.total for address in watched]


def percent(parts):
    return ", ".join(f"{100 * part:.2f} %" for part in parts if part)


def by_weight(t, weights):
    """Guests that spin, of these weights."""
    parts = turns(t, [(weight, f"spin {n + 1}") for n, weight in enumerate(weights)])
    wanted = [weight / sum(weights) for weight in weights]
    words = f"of guests with the weights {', '.join(map(str, weights))}"
    t.check(sum(parts) > 0.95, f"{words} none runs for much of the time", "95 % of all instructions", percent(parts))
    parts = [part / sum(parts) for part in parts]
    for weight, want, part in zip(weights, wanted, parts):
        near = max(NEAR * want, 1.5 * TICK / WINDOW)
        t.check(abs(part - want) < near, f"{words} the one with {weight} has another part of what they have of the CPU",
                f"{100 * want:.1f} %, to within {100 * near:.2f} %", percent(parts))


def shares(t):
    """Random weights, great and small, for guests that spin; and one alone, however light."""
    first = t.rng.randrange(150, 400)
    weights = [first, first * t.rng.choice((2, 3)), first * 4]
    t.rng.shuffle(weights)
    by_weight(t, weights)
    by_weight(t, t.rng.choice(((1, 3, 2), (2, 1, 1, 3), (1, 2, 4))))
    part = turns(t, [(1, "spin 1"), (60000, "brief 3")], WINDOW // 4)[0]
    t.check(part > 0.95, "while the only other guest sleeps, a light one that wants the CPU does not have it", "95 %", percent([part]))


def hostile(t):
    """Beside one that tries to have more than its part the other has its own."""
    for way in t.rng.sample(sorted(WAYS), len(WAYS)):
        heavy = t.rng.choice((2, 3))
        want = heavy / (heavy + 1)
        parts = turns(t, [(256 * heavy, "spin 1"), (256, f"{way} 2")], WINDOW // 2)
        t.check(parts[0] > want * (1 - NEAR), f"beside one {WAYS[way]} a guest that spins does not have its part of the CPU",
                f"{100 * want:.0f} %, less 3 % of that", percent(parts))
        t.check(way == "wake" or parts[0] < 1 - (1 - want) * (1 - GREEDY), f"a guest {WAYS[way]} has less than its own part of the CPU: "
                "who is beside it has the rest", f"{100 * want:.0f} % for the one that spins, and little more", percent(parts))
        t.check(parts[1], f"a guest {WAYS[way]} has no turns", "some", percent(parts))
    parts = turns(t, [(256, "spin 1"), (256, "late 2")], WINDOW // 2)
    # of 1.6 s the first half second is its own, and half of the rest
    t.check(parts[0] > 0.64, "one that has slept for half a second then has the CPU more than a guest that spins, and catches up", "66 %, less 3 % of that",
            percent(parts))
    t.check(parts[0] < 0.69, "one that has slept for half a second has less than its own part of the CPU then", "34 %, less a tenth of that",
            percent(parts))


def prompt(t):
    """One that has little to do is let in when it wakes."""
    parts = turns(t, [(t.rng.randrange(100, 1000), "spin 1"), (t.rng.randrange(100, 1000), "spin 2"), (256, "brief 3")], WINDOW // 10)
    # 7 ms of sleep, 0.1 ms of work, and 1 ms that it may come late: so much it has worked, at the least
    t.check(parts[2] > 0.1 / 8.1 * 0.95, "a guest that sleeps and has little to do comes to it late, beside two that spin",
            f"{10 / 8.1 * 0.95:.2f} % of the instructions", percent(parts))
