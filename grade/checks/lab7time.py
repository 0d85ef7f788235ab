"""Lab 7.4: time as a domain is shown it, and its timers. The functions by themselves, one instruction after the other."""

import struct

from zeno.guests import pvclocks
from zeno.judging import evidence, headers

from .guests import module, restore
from .lab4 import said
from .lab5 import LIMITS
from .lab6a import invoke

HEADERS = ("vmm/pv/events/time.h",)
SECOND, YEAR_2000 = 10 ** 9, 946684800
RECORD = {"version": 4, "tsc_timestamp": 8, "system_time": 8, "tsc_to_system_mul": 4, "tsc_shift": 1, "flags": 1}
DATE = {"wc_version": 4, "wc_sec": 4, "wc_nsec": 4, "wc_sec_hi": 4}
TIMERS = ("single", "poll", "next", "period")
OFFSETS = dict(zip((*RECORD, *DATE, *TIMERS), headers.numbers(HEADERS, (
    *(f"offsetof(struct xen_vcpu_time_info, {name})" for name in RECORD), *(f"offsetof(struct xen_shared_info, {name})" for name in DATE),
    *(f"offsetof(struct pv_timers, {name})" for name in TIMERS)))))
NEVER, EVENT, POLL, TIMERS_SIZE = headers.numbers(HEADERS, ("PV_NEVER", "PV_TIMER_EVENT", "PV_TIMER_POLL", "sizeof(struct pv_timers)"))
MOST = 400
"""Instructions that one of these functions has, at most."""
ROUNDS = 4
CASES = 40
ROOM = 6144
"""Below the stack that the kernel uses: nobody's."""


def fields(client, at, sizes):
    """A structure's, by name."""
    return {name: int.from_bytes(client.read(at + OFFSETS[name], size), "little") for name, size in sizes.items()}


def watched(t, client, at, sizes, words):
    """From a function's first instruction to its return, one after the other: what stands in the record behind each."""
    regs = client.regs()
    back = t.symbol("monitor_run")
    version, *others = sizes
    was = before = fields(client, at, sizes)
    for _ in range(MOST):
        client.step()
        now = fields(client, at, sizes)
        moved = [name for name in others if now[name] != was[name]]
        t.check(not moved or now[version] & 1, f"{words} is written while {version} is even: who reads it just then believes it",
                f"{version} odd before {moved and moved[0]} changes", f"{now[version]:#x}; it was {before[version]:#x}")
        was = now
        if client.regs()["rip"] == back:
            return before, now
    t.fail(f"{words}: the function does not come to its end", f"within {MOST} instructions", f"rip {regs['rip']:x}")
    return None


def call(t, client, stack, name, *args):
    """A function's first instruction, with these arguments, as if called from monitor_run."""
    client.write(stack - 8, struct.pack("<Q", t.symbol("monitor_run")))
    for register, value in zip(("rdi", "rsi", "rdx", "rcx"), args):
        client.set_reg(register, value)
    client.set_reg("rsp", stack - 8)
    client.set_reg("rip", t.symbol(name))


def ended(t, before, now, wanted, words):
    """What is there behind the function."""
    version = next(iter(now))
    t.check(not now[version] & 1 and now[version] != before[version],
            f"{words}: behind it {version} is not another even number: a reader waits for ever, or does not see that it is new",
            f"even, and not {before[version]:#x}", f"{now[version]:#x}")
    for name, value in wanted.items():
        t.check(now[name] == value, f"{words}: behind it {name} says something else", f"{value:#x}", f"{now[name]:#x}")


def record(t, client, stack):
    """7.4a, over what the guest has left there, any version, odd ones, too; and over what the last one has left."""
    at = stack - ROOM
    for n in range(ROUNDS + 1):
        if n < ROUNDS:
            client.write(at, t.rng.randbytes(64))
            client.write(at + OFFSETS["version"], struct.pack("<I", (t.rng.getrandbits(30) * 2, t.rng.getrandbits(30) | 1, 0xFFFFFFFE, 0xFFFFFFFF)[n % 4]))
        tsc, ns, mul, shift = t.rng.getrandbits(63), t.rng.getrandbits(60), t.rng.getrandbits(32) | 1 << 31, t.rng.randrange(256)
        call(t, client, stack, "pv_time_write", at, tsc, ns, shift << 32 | mul)
        words = "a vCPU's time"
        before, now = watched(t, client, at, RECORD, words)
        ended(t, before, now, {"tsc_timestamp": tsc, "system_time": ns, "tsc_to_system_mul": mul, "tsc_shift": shift, "flags": 0}, words)


def date(t, client, stack):
    """7.4b."""
    at = stack - ROOM
    for n in range(ROUNDS + 1):
        for name, size in DATE.items():
            if n < ROUNDS:
                client.write(at + OFFSETS[name], t.rng.randbytes(size))
        if n < ROUNDS:
            client.write(at + OFFSETS["wc_version"], struct.pack("<I", (t.rng.getrandbits(30) * 2, t.rng.getrandbits(30) | 1, 0, 0xFFFFFFFF)[n % 4]))
        ns = t.rng.getrandbits((59, 62, 63, 64)[n % 4]) if n else ((1 << 32) - t.rng.randrange(1, YEAR_2000)) * SECOND
        seconds = YEAR_2000 + ns // SECOND
        call(t, client, stack, "pv_time_write_wall", at, ns)
        words = "the date"
        before, now = watched(t, client, at, DATE, words)
        ended(t, before, now, {"wc_sec": seconds & 0xFFFFFFFF, "wc_sec_hi": seconds >> 32, "wc_nsec": ns % SECOND}, words)


def timers(t, client, stack):
    """7.4c, by the rules of vcpu.h."""
    at = stack - ROOM
    for _ in range(CASES):
        now = t.rng.randrange(10 ** 12)
        near = lambda: t.rng.choice((NEVER, now, now + 1, now - 1, t.rng.randrange(now), now + t.rng.randrange(1, 10 ** 10)))  # noqa: E731
        had = {"single": near(), "poll": near(), "next": near(), "period": 0}
        had["period"] = 0 if had["next"] == NEVER else t.rng.randrange(10 ** 6, 10 ** 10)
        client.write(at, bytes(TIMERS_SIZE))
        for name, value in had.items():
            client.write(at + OFFSETS[name], struct.pack("<Q", value))
        due = (EVENT if had["single"] <= now or had["next"] <= now else 0) | (POLL if had["poll"] <= now else 0)
        wanted = had | {name: NEVER for name in ("single", "poll") if had[name] <= now}
        if had["next"] <= now:
            wanted["next"] = now + had["period"]
        regs = invoke(t, client, stack, "pv_timers_take", at, now)
        words = f"at {now}, with " + ", ".join(f"{name} at {'no time' if value == NEVER else value}" for name, value in had.items() if name != "period")
        t.check(regs["rax"] & 0xFFFFFFFF == due, f"{words}: something else is due", f"{due:#x}", f"{regs['rax'] & 0xFFFFFFFF:#x}")
        got = {name: struct.unpack("<Q", client.read(at + OFFSETS[name], 8))[0] for name in TIMERS}
        for name, value in wanted.items():
            t.check(got[name] == value, f"{words}, period {had['period']}: behind it `{name}` is another time", f"{value:#x}", f"{got[name]:#x}")


def stands(t, *tries):
    """The kernel before its first command, where these call its functions."""
    def there(client, regs):
        for one in tries:
            one(t, client, (regs["rsp"] - 0x800) & ~15)
        client.set_reg("rip", t.symbol("machine_off"))
        client.set_reg("rdi", 0)
        return True

    run, seen = t.witness("panic=off -- off", {t.symbol("monitor_run"): there}, limits=LIMITS)
    t.check(seen[t.symbol("monitor_run")], "the kernel does not come to its first command", "K>", "")
    t.orderly(run)


def between(t):
    """Behind each instruction the record is whole, or says that it is not."""
    stands(t, record, date)


def due(t):
    """Which timers are due at a time, and what becomes of them."""
    stands(t, timers)


def paused(t):
    """A domain that is paused, by the functions that dom0's hypercall has for it: what its two times have done."""
    program = pvclocks.clocks(t.rng)
    elf = program.assemble(t.directory, "clocks")

    here = 1  # PAUSED_HERE of vmm/control/pause/pause.h

    def at_command(function):
        def see(client, regs):
            stack = (regs["rsp"] - 0x800) & ~15
            domain = invoke(t, client, stack, "domain_find", 1)["rax"]
            t.check(domain, "the guest is not there any more", "it looks at its clocks", "it has ended")
            invoke(t, client, stack, function, domain, here)
            restore(client, regs)
            return False
        return see

    run, _ = t.witness("panic=off -- start clocks &; sleep 50; threads; sleep 500; sched; sleep 200; off",
                       {t.symbol("command_threads"): at_command("domain_pause"), t.symbol("command_sched"): at_command("domain_resume")},
                       modules=[module(elf)], limits=LIMITS, icount=True)
    lives = evidence.lives(run)
    got = lives[0].output.decode("ascii", "replace").split() if lives else []
    for i, line in enumerate(program.wanted()):
        t.check(i < len(got), f"a guest that was paused gets no further: nothing comes {program.place(i)}", line, said(run, "start clocks"))
        t.check(line in (got[i], "?"), f"a guest that was paused finds something else, {program.place(i)}", line, got[i])
    t.orderly(run)
