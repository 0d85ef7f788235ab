"""Lab 5B, exercise 5.7: the local APIC's timer by deadlines.

Equivalent: a fresh guest whose output the manual fixes; on Bochs, whose CPU has such a timer, the bare machine's output is the
yardstick. Witnessed: the functions by themselves, called with states and times that are made up.
"""

import struct

from zeno.guests import deadlines
from zeno.judging import evidence, headers
from zeno.judging.trial import Skipped

from .guests import compare, module
from .lab4 import said
from .lab5 import LIMITS, Calls, words
from .lab5a import Ends, Touching

OPTIONS = "platform=pc-apic"
HEADERS = ("vmm/dev/apic/lapic.h",)
L_SVR, L_LVT, L_IRR, L_TSC, L_SIZE, ENABLED, MASKED, PERIODIC, DEADLINE, NEVER = headers.numbers(HEADERS, (
    "offsetof(struct lapic, svr)", "offsetof(struct lapic, lvt)", "offsetof(struct lapic, irr)", "offsetof(struct lapic, tsc_deadline)",
    "sizeof(struct lapic)", "SVR_ENABLED", "LVT_MASKED", "LVT_PERIODIC", "LVT_DEADLINE", "LAPIC_NEVER"))
FIELDS = ("version", "id", "tpr", "ldr", "dfr", "svr", "esr", "errors", "icr", "lvt", "divide", "initial", "isr", "tmr", "irr", "counting",
          "has_deadline", "x2", "off", "start", "fired", "tsc_deadline")
STARTS = headers.numbers(HEADERS, tuple(f"offsetof(struct lapic, {name})" for name in FIELDS))
S = 1_000_000_000


# -- a guest -----------------------------------------------------------------------------------------


def run(t, program, name):
    """The program under the engine; what it is called there."""
    elf = program.assemble(t.directory, name)
    result = t.boot(f"panic=off -- start {name} {OPTIONS}; off", modules=[module(elf)], elf=[elf], limits=LIMITS)
    return elf, result


def guest(t):
    """Deadlines of every kind; what it must print is known."""
    program = deadlines.every(t.rng, 24)
    _, result = run(t, program, "deadlines")
    found = evidence.lives(result)
    life = said(result, f"start deadlines {OPTIONS}")
    t.check(found, "a guest that asks for deadlines does not start", "it starts", life)
    got = found[0].output.decode("ascii", "replace").split()
    for i, (line, during) in enumerate(zip(program.expected, program.during)):
        t.check(i < len(got), f"a guest with deadlines gets no further than {during}: an interrupt that it waits for never comes, or comes "
                "without end", line, "\n".join(got[-3:]) or life)
        t.check(got[i] == line, f"a guest's deadlines: line {i + 1} of what it prints, {during}, is another one: how many interrupts came, "
                "or what the register reads", line, got[i])
    t.check("exit code 0" in life, "a guest that asks for deadlines does not come to its end", "exit code 0", life)
    t.orderly(result)


def beside_bare(t):
    """The same on VT-x beside a CPU that has this timer itself."""
    if t.lab.cpu_on(t.machine) != "vmx":
        raise Skipped("no AMD CPU has such a timer to compare with, and Lab 4 is not done in this tree. Nothing is lost by it")
    program = deadlines.every(t.rng, 9, looks=False)
    program.slow_uart = t.machine == "bochs"
    elf = program.assemble(t.directory, "deadlines")
    bare = t.bare(elf, limits=LIMITS)
    _, result = run(t, program, "deadlines")
    compare(t, bare, result, 0)
    t.orderly(result)


# -- by itself ---------------------------------------------------------------------------------------


class Bench:
    """Calls with a local APIC that is made up; `wanted` is the manual's answer."""

    def __init__(self, t, client, regs):
        self.t, self.client, self.call = t, client, Calls(t, client, regs)
        self.at = self.call.stack - 0x600
        self.value = self.at + L_SIZE + 64

    def put(self, entry, armed):
        """An APIC that is on, with this timer entry and this deadline."""
        state = bytearray(L_SIZE)
        struct.pack_into("<I", state, L_SVR, ENABLED | 0xFF)
        struct.pack_into("<I", state, L_LVT, entry)
        struct.pack_into("<Q", state, L_TSC, armed)
        self.client.write(self.at, bytes(state))
        return bytes(state)

    def same_but(self, what, state, irr=(), armed=None):
        """Nothing in it has changed, but these interrupts have come and this deadline stands."""
        wanted = bytearray(state)
        for vector in irr:
            wanted[L_IRR + vector // 8] |= 1 << vector % 8
        if armed is not None:
            struct.pack_into("<Q", wanted, L_TSC, armed)
        got = self.client.read(self.at, L_SIZE)
        ask = lambda s: [n for n in range(256) if s[L_IRR + n // 8] >> n % 8 & 1]
        self.t.check(ask(got) == ask(wanted), f"{what}: the interrupts that are requested then are others",
                     ", ".join(f"{n:x}" for n in ask(wanted)) or "none", ", ".join(f"{n:x}" for n in ask(got)) or "none")
        was, now = (struct.unpack_from("<Q", one, L_TSC)[0] for one in (wanted, got))
        self.t.check(was == now, f"{what}: the deadline that is armed then is another one", f"{was:x}", f"{now:x}")
        for name, at, end in zip(FIELDS, STARTS, (*STARTS[1:], L_SIZE)):
            was, now = (int.from_bytes(one[at:end], "little") for one in (wanted, got))
            self.t.check(was == now, f"{what}: something else of the APIC has changed, `{name}` of struct lapic"
                         + (", where the interrupts stand that are triggered by a level" if name == "tmr" else ""), f"{was:x}", f"{now:x}")


def registers(b, rng, vector):
    """RDMSR and WRMSR in each mode."""
    cases = (0, 1), (PERIODIC, 1), (DEADLINE, 0), (DEADLINE, 1)
    for mode, some in rng.sample(cases, len(cases)):
        mask = rng.choice((0, MASKED))
        armed, value = rng.getrandbits(63) + 1, some * (rng.getrandbits(63) + 1)
        mine = mode == DEADLINE
        state = b.put(mode | mask | vector, armed if mine else 0)
        b.client.write(b.value, struct.pack("<Q", rng.getrandbits(64)))
        b.call("deadline_msr", b.at, 0, b.value)
        got, = words(b.client, b.value)
        what = "a read of the register" + ("" if mine else " in another mode")
        b.t.check(got == (armed if mine else 0), f"{what} gives another value", f"{armed if mine else 0:x}", f"{got:x}")
        b.same_but(what, state)
        b.client.write(b.value, struct.pack("<Q", value))
        b.call("deadline_msr", b.at, 1, b.value)
        b.same_but("a write of the register" + ("" if mine else " in another mode"), state, armed=value if mine else None)
    reserved(b, rng, vector)


def reserved(b, rng, vector):
    """Both bits are no mode (SDM 3A figure 11-8): the register may be there or not, but both for a read and a write."""
    value = rng.getrandbits(63) + 1
    state = b.put(DEADLINE | PERIODIC | vector, 0)
    b.client.write(b.value, struct.pack("<Q", value))
    b.call("deadline_msr", b.at, 1, b.value)
    armed, = words(b.client, b.at + L_TSC)
    what = "a write of the register in the mode that is reserved"
    b.t.check(armed in (0, value), f"{what}: what is armed then is neither nothing nor what was written", f"0 or {value:x}", f"{armed:x}")
    b.same_but(what, state, armed=armed)
    b.client.write(b.value, struct.pack("<Q", rng.getrandbits(64)))
    b.call("deadline_msr", b.at, 0, b.value)
    got, = words(b.client, b.value)
    b.t.check(got == armed, "a read of the register in the mode that is reserved gives something else than what is armed", f"{armed:x}",
              f"{got:x}")


def ticks(b, rng, vector):
    """What is due, and what is not: two moments may be farther apart than a difference with a sign can say."""
    far = rng.randrange((1 << 63) + 1, (1 << 64) - (1 << 41))
    for off, mask, armed in ((-1, 0, True), (0, 0, True), (rng.randrange(1, 1 << 40), 0, True), (rng.randrange(1 << 40), MASKED, True),
                             (-rng.randrange(1, 1 << 40), MASKED, True), (0, 0, False), (-far, 0, True), (far, 0, True)):
        when = {far: 0, -far: far}.get(off, 1 << 41) + rng.randrange(1, 1 << 40)
        state = b.put(DEADLINE | mask | vector, when if armed else 0)
        b.call("deadline_tick", b.at, when + off)
        due = armed and off >= 0
        what = "no deadline" if not armed else f"{-off} ticks before a deadline" if off < 0 else f"{off} ticks behind a deadline"
        what += " of a timer that is masked" if mask else ""
        b.same_but(what, state, [vector] if due and not mask else (), 0 if due else None)
        b.call("deadline_tick", b.at, when + off + (due and rng.randrange(1 << 20)))
        b.same_but(what + ", asked twice", state, [vector] if due and not mask else (), 0 if due else None)


def sleeps(b, rng, vector):
    """For how long it may sleep."""
    def ask(tsc, to, hz, mask=0):
        state = b.put(DEADLINE | mask | vector, to)
        got = b.call("deadline_left", b.at, tsc, hz)
        b.same_but("how long a guest may sleep, asked", state)
        return got

    def never(got, what):
        b.t.check(got == NEVER, f"how long a guest may sleep {what}: it would be woken, and for nothing", "never", f"{got} ns")

    hz = rng.randrange(S // 10 * 8, 6 * S)
    never(ask(rng.getrandbits(40), 0, hz), "without a deadline")
    never(ask(5, rng.getrandbits(40) + 5, hz, MASKED), "with a deadline that is masked")
    never(ask(rng.getrandbits(40), (1 << 64) - 1 - rng.getrandbits(40), rng.randrange(1000, 100_000)), "to a deadline beyond all time")
    tsc = rng.getrandbits(50)
    for past in (0, rng.randrange(1, 1 << 40), rng.randrange((1 << 63) + (1 << 50), (1 << 64) - (1 << 50))):
        got = ask(tsc + past, max(tsc, 1), hz)
        b.t.check(got == 0, "how long a guest may sleep when its deadline is past: the interrupt waits for no reason", "0 ns", f"{got} ns")
    fast = rng.randrange(5 * S, 6 * S)
    some = [(left, hz) for left in (1, rng.randrange(2, 1000), rng.randrange(1 << 20), rng.randrange(1 << 34, 1 << 40),
                                    rng.randrange(1 << 55, 1 << 60))]
    exact = [(rng.randrange(1, S), S), (rng.randrange(1 << 34, 1 << 60), S), (2 * rng.randrange(1, S), 2 * S), (hz, hz),
             (rng.randrange(2, 1000) * hz, hz)]
    for ticks_left, hz in (*some, *exact, (rng.randrange((1 << 63) + 1, (1 << 64) - (1 << 51)), fast)):
        got, wanted = ask(tsc, tsc + ticks_left, hz), -(-ticks_left * S // hz)
        b.t.check(got == wanted, f"how long a guest may sleep to a deadline {ticks_left} ticks of {hz} Hz away", f"{wanted} ns",
                  "never" if got == NEVER else f"{got} ns")


def by_itself(t):
    """The three functions."""
    program = Touching(t.rng, 4)
    elf = program.assemble(t.directory, "touches")

    def judge(domain, run, regs):
        bench = Bench(t, domain.client, regs)
        for each in (registers, ticks, sleeps):
            each(bench, t.rng, t.rng.randrange(0x10, 0x100))

    Ends(t, elf, OPTIONS, judge)
