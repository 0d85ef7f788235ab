"""Exercises 4.3 and 4s.3, what is the same in both: the guest's state on its way into the CPU's structure and back.

A flavour of the lab says what its structure has, and how the grader reads and writes it; here are random states that a CPU
takes, the rounds of a trial's command in which each of the student's functions runs between values of the grader's, and
what must hold of them.
"""

import struct
from dataclasses import dataclass, field, replace

from zeno.judging import headers
from zeno.machines import machine

from .lab4 import CODE_AT, said, to_return

LIMITS = machine.Limits(instructions=200_000_000, cpu_seconds=15.0, console_bytes=1 << 20, side_bytes=16 << 20)
"""A right answer needs 0.3 CPU seconds. A host without paging runs through empty memory, where each block is a new one for
the emulator: the limit of instructions alone would let it go on for minutes."""
SEG, TABLES, CR, DR, MSR, ALL = headers.numbers(("vmm/vcpu.h",), (
    "STATE_SEG", "STATE_TABLES", "STATE_CR", "STATE_DR", "STATE_MSR", "STATE_ALL"))
GROUPS = {SEG: "segments", TABLES: "GDTR and IDTR", CR: "control registers", DR: "debug registers", MSR: "MSRs"}
VCPU_STATE, VCPU_VALID, VCPU_DIRTY, VCPU_ENGINE, STATE_SIZE, STATE_DR0, HOLE = headers.numbers(
    ("vmm/vcpu.h", "kern/map.h"), (
        "offsetof(struct vcpu, state)", "offsetof(struct vcpu, valid)", "offsetof(struct vcpu, dirty)",
        "offsetof(struct vcpu, engine_data)", "sizeof(struct cpu_state)", "offsetof(struct cpu_state, dr)", "KB"))
GD, CODE, DATA, PRESENT, USABLE = 1 << 13, 0x1B, 0x13, 0x80, 0xC00
"""Attributes as struct segment has them: readable code, writable data, P, and 32 bits with a scaled limit."""
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
PARTS = (("sel", 2), ("attr", 2), ("limit", 4), ("base", 8))
HOSTS = [*(f"{name}.{part}" for name in SEGMENTS for part in ("sel", "attr", "limit", "base")), "gdtr.base", "gdtr.limit",
         "idtr.base", "idtr.limit", "cr0", "cr3", "cr4", "efer", "dr7"]
"""What is the host's while Zeno runs."""


def where_of(name):
    """A field of struct cpu_state by what it is called here."""
    part = name.partition(".")
    if part[0] in SEGMENTS[:6]:
        return f"seg[SEG_{part[0].upper()}].{part[2]}"
    if name in ("rax", "rsp"):
        return f"gpr[{name.upper()}]"
    return name if name.startswith("pdpte") or name[:2] != "dr" else f"dr[{name[2:]}]"


def fields_of(more):
    """{name: (group, offset in the state, bytes)} of what every flavour has, and of its own [(name, group, bytes)]."""
    rows = [("rsp", 0, 8), ("rip", 0, 8), ("rflags", 0, 8)]
    rows += [(f"{name}.{part}", SEG, size) for name in SEGMENTS for part, size in PARTS]
    rows += [(f"{name}.{part}", TABLES, size) for name in ("gdtr", "idtr") for part, size in (("limit", 2), ("base", 8))]
    rows += [(name, CR, 8) for name in ("cr0", "cr2", "cr3", "cr4", "efer")]
    rows += [(name, MSR, 8) for name in ("star", "lstar", "cstar", "sfmask", "kernel_gs_base", "sysenter_cs", "sysenter_esp",
                                         "sysenter_eip", "pat", "tsc_offset")]
    rows += [("dr6", DR, 8), ("dr7", DR, 8), *more]
    places = headers.numbers(("vmm/x86/state.h",), [f"offsetof(struct cpu_state, {where_of(row[0])})" for row in rows])
    return {name: (group, at, size) for (name, group, size), at in zip(rows, places)}


@dataclass(frozen=True)
class Kind:
    """What a state is like."""

    ring: int
    real: bool = False
    conforming: bool = False
    """Its code segment: its DPL is not the ring."""
    half_long: bool = False
    """LME without PAE."""
    v86: bool = False
    """Virtual-8086 mode, where a selector says nothing of the ring."""
    long: bool = False
    """64-bit code, with paging."""
    no_stack: bool = False
    """Its SS is none."""


def with_breakpoints(rng, one):
    """Armed, some of them over what is Zeno's; (DR0 to DR3, which of them may be armed)."""
    theirs = [rng.randrange(2) for _ in range(4)]
    theirs[rng.randrange(4)] = 1
    theirs[(theirs.index(1) + rng.randrange(1, 4)) % 4] = 0
    at = [HOLE + rng.getrandbits(30) if held else rng.getrandbits(31) & ~7 for held in theirs]
    one["dr7"] |= rng.getrandbits(8) | 0xFF * rng.randrange(2) | GD * rng.randrange(2) | 0x300 * rng.randrange(2)
    return at, [not held for held in theirs]


def shown(name):
    """A field's name for a person."""
    return name.replace(".", "'s ").replace("attr", "attributes").replace("sel", "selector").upper() if "." in name else name.upper()


def call_again(client, regs, vcpu, dirty, stopped=None):
    """Behind a function that was called with these registers: once more, with these groups marked. Where it comes back to
    still stands on the stack."""
    for name in ("rip", "rsp", "rdi"):
        client.set_reg(name, regs[name])
    client.write(vcpu + VCPU_DIRTY, bytes([dirty]))
    return to_return(client, regs, stopped)


def anything(rng):
    """A set of groups."""
    return rng.randrange(ALL + 1)


@dataclass
class Round:
    """One way into the guest and back."""

    kind: Kind
    state: dict
    old: dict
    """What the structure has before."""
    dirty: int
    """Groups that are marked as changed."""
    breakpoints: list
    armed: list
    out: dict = None
    left_dirty: int = 0
    """... that are still marked behind the function that writes them."""
    host: list = field(default_factory=list)
    """What the CPU had before and behind the function that writes the structure."""
    in_guest: dict = None
    later: dict = None
    """What the structure has behind the exit."""
    spoilt: bytes = b""
    behind: bytes = b""
    valid: int = None
    asked: int = 0
    held: tuple = ()
    """DR0 to DR3 that the one who asks must get."""
    dr6: int = 0
    """... and DR6."""
    shadowed: bool = False
    """Asked with mmu=shadow, where a flavour does so."""
    fetched: bytes = b""
    known: tuple = (0, 0)
    """Other groups that were there before, and behind it."""
    crossing: list = field(default_factory=list)
    """What the CPU had before and behind the entry, where a flavour looks."""
    rax: int = None
    cr2: int = None
    """What the guest had in RAX, and what is kept of its CR2."""


class Rounds:
    """A boot of a trial's command, with random values on both sides of each of the student's functions."""

    FIELDS = {}
    KINDS = []
    COMMAND = ""
    FUNCTIONS = ()
    """What writes the structure, what reads of it behind an exit, and what reads the rest when asked."""
    ALWAYS = ()
    """What is always true behind an exit."""

    def __init__(self, t, count, dirty, asked, arms=False):
        self.t, self.rng, self.count, self.arms = t, t.rng, count, arms
        self.dirty, self.asked = dirty, asked
        self.live, self.rounds, self.kinds = [], [], self.rng.sample(self.KINDS, len(self.KINDS))

    # A flavour's own.

    def a_state(self, kind, code_base):
        """{field: value} of a state with which a guest can be entered."""
        raise NotImplementedError

    def hardware(self):
        """{name: group} of what the structure has."""
        return {name: group for name, (group, _, _) in self.FIELDS.items()}

    def for_cpu(self, state, name):
        """What the structure must have of it."""
        raise NotImplementedError

    def read_hardware(self, client, vcpu):
        """{name: value}, in the structure's own form."""
        raise NotImplementedError

    def write_hardware(self, client, vcpu, values, changed, ring):
        """Give the structure these values, of a state's form. Of some groups they will be written over; None: behind an exit."""
        raise NotImplementedError

    def cpu_has(self, client):
        """{name: (value, mask of what the emulator shows)}"""
        raise NotImplementedError

    def enter(self, client, one, vcpu):
        """From behind the first function to the guest's first instruction, or, without one, to the next exit."""
        raise NotImplementedError

    def seen(self, one, name):
        """What the state must have behind an exit, when asked."""
        return one.later[name]

    def why(self, one, name, got):
        """More words on it, if it is not."""
        return ""

    def why_in(self, name, got):
        """... and on what the structure has."""
        return ""

    def same(self, name, got, wanted):
        """In the structure's own form."""
        return got == wanted

    def alike(self, name, got, wanted):
        """In the state's."""
        return got == wanted

    def besides(self, one):
        """What else the structure must have."""

    def ready(self, client):
        """At the first round."""

    def once_more(self, client, one, vcpu, call):
        """Behind the first function: what else it does with this state, if it is called again, before the guest is entered."""

    def before_ask(self, client, one, vcpu):
        """Before somebody asks."""

    def after_ask(self, client, vcpu):
        """... and behind it."""

    # What is the same in all.

    def value(self, raw, name):
        """A field of a state."""
        _, at, size = self.FIELDS[name]
        return int.from_bytes(raw[at:at + size], "little")

    def packed(self, values, old, dr0=None):
        """A state with these values in it."""
        raw = bytearray(old)
        for name, value in values.items():
            if name in self.FIELDS:
                _, at, size = self.FIELDS[name]
                raw[at:at + size] = value.to_bytes(size, "little")
        if dr0:
            raw[STATE_DR0:STATE_DR0 + 32] = struct.pack("<4Q", *dr0)
        return bytes(raw)

    def base(self, kind):
        """Of the code segment."""
        return 0 if kind.long else self.rng.getrandbits(32) & ~0xFFF

    def into(self, client, regs):
        """At the function that writes the structure."""
        vcpu, rng = regs["rdi"], self.rng
        if not self.rounds:
            self.ready(client)
        kind = self.kinds[len(self.rounds) % len(self.kinds)]
        base = self.base(kind)
        one = Round(kind, self.a_state(kind, base), self.a_state(replace(kind, half_long=False), base),
                    self.dirty(len(self.rounds)), [rng.getrandbits(31) for _ in range(4)], [False] * 4)
        if self.arms:
            one.breakpoints, one.armed = with_breakpoints(rng, one.state)
        client.write(vcpu + VCPU_STATE, self.packed(one.state, client.read(vcpu + VCPU_STATE, STATE_SIZE), one.breakpoints))
        client.write(vcpu + VCPU_DIRTY, bytes([one.dirty]))
        self.write_hardware(client, vcpu, one.old, one.dirty,
                            one.old["ss.attr"] >> 5 & 3 if not one.dirty & SEG else 3 - kind.ring)
        one.host.append(self.cpu_has(client))
        self.rounds.append(one)
        if not to_return(client, regs):
            return True
        one.out, one.left_dirty = self.read_hardware(client, vcpu), client.read(vcpu + VCPU_DIRTY, 1)[0]
        one.host.append(self.cpu_has(client))
        self.once_more(client, one, vcpu, lambda stopped=None: call_again(client, regs, vcpu, one.dirty, stopped))
        return self.enter(client, one, vcpu)

    def behind(self, client, regs):
        """At the function that reads what is always true: the guest has changed everything."""
        one, vcpu, rng = self.rounds[-1], regs["rdi"], self.rng
        kind = replace(rng.choice(self.KINDS), half_long=False)
        one.later = self.a_state(kind, self.base(kind))
        self.write_hardware(client, vcpu, one.later, None, kind.ring)
        one.spoilt = self.packed(self.a_state(Kind(3 - kind.ring), 0), client.read(vcpu + VCPU_STATE, STATE_SIZE),
                                 [rng.getrandbits(31) for _ in range(4)])
        client.write(vcpu + VCPU_STATE, one.spoilt)
        client.write(vcpu + VCPU_VALID, bytes([rng.choice((ALL, one.dirty, rng.randrange(1, ALL + 1)))]))
        if not to_return(client, regs):
            return True
        one.behind = client.read(vcpu + VCPU_STATE, STATE_SIZE)
        one.valid = client.read(vcpu + VCPU_VALID, 1)[0]
        return False

    def ask(self, client, regs):
        """At the function that reads the rest."""
        one, vcpu = self.rounds[-1], regs["rdi"]
        one.asked = self.asked(len(self.rounds) - 1)
        client.set_reg("rsi", one.asked)
        self.before_ask(client, one, vcpu)
        client.write(vcpu + VCPU_STATE, one.spoilt)
        valid, known = client.read(vcpu + VCPU_VALID, 1), self.rng.randrange(ALL + 1) & ~one.asked
        client.write(vcpu + VCPU_VALID, bytes([known]))
        if not to_return(client, regs):
            return True
        one.fetched = client.read(vcpu + VCPU_STATE, STATE_SIZE)
        self.after_ask(client, vcpu)
        one.known = known, client.read(vcpu + VCPU_VALID, 1)[0] & ~one.asked
        client.write(vcpu + VCPU_VALID, valid)
        return False

    def run(self):
        """(Run, rounds)"""
        t = self.t
        command = self.COMMAND.format(self.count)
        calls = dict(zip(map(t.symbol, self.FUNCTIONS), (self.into, self.behind, self.ask)))
        run, _ = t.witness(f"-- {command}; off", calls, limits=LIMITS, hits=40 * self.count, keep=self.live)
        if run.end in (machine.End.INSTRUCTIONS, machine.End.CPU):
            t.fail(f"the host did not come back from entry {len(self.rounds)}", "an exit, and `off`", run.detail)
        if not self.rounds or not self.rounds[0].out:
            t.orderly(run)
        t.check(self.rounds and self.rounds[0].out, f"{self.FUNCTIONS[0]}() does not come back", "a return", said(run, command))
        return run, self.rounds

    def in_structure(self, one, name):
        """A field that must have been written."""
        got, wanted = one.out[name], self.for_cpu(one.state, name)
        self.t.check(self.same(name, got, wanted), f"the guest would go on with another {shown(name)} than its state has"
                     f"{self.why_in(name, got)}", f"{wanted:#x}", f"{got:#x}")


# -- the tests ---------------------------------------------------------------------------------------


def state_in(t, flavour):
    """All groups are new: the structure has them, and the CPU at the guest's first instruction. (The trial, its run, the rounds.)"""
    trial = flavour(t, 2 * len(flavour.KINDS), lambda _: ALL, lambda _: ALL)
    run, rounds = trial.run()
    for one in rounds:
        t.check(one.out, f"{flavour.FUNCTIONS[0]}() does not come back", "a return", "none")
        for name in trial.hardware():
            trial.in_structure(one, name)
        trial.besides(one)
        before, after = one.host
        for name in HOSTS:
            t.check(before[name] == after[name], f"{flavour.FUNCTIONS[0]}() changes the host's own {shown(name)}",
                    f"{before[name][0]:#x}", f"{after[name][0]:#x}")
    seen = [one for one in rounds if one.in_guest]
    t.check(len(seen) >= 2, "the guest never came to its first instruction", f"rip {CODE_AT:x}", run.text()[-400:])
    for one in seen:
        for name in one.state:
            if name in one.in_guest and name != "dr7":
                (got, mask), wanted = one.in_guest[name], trial.for_cpu(one.state, name)
                t.check(trial.same(name, got, wanted & mask), f"at the guest's first instruction {shown(name)} is not what its "
                        "state says", f"{wanted & mask:#x}", f"{got:#x}")
    return trial, run, rounds


def state_debug(t, flavour):
    """Debug registers: the guest's own, those that may watch, and those that no structure has."""
    rng = t.rng
    trial = flavour(t, 8, lambda n: ALL if n == 0 else anything(rng), lambda _: DR, arms=True)
    run, rounds = trial.run()
    own = held = None
    for one in rounds:
        if one.dirty & DR:
            own, held = one.state["dr7"], one.breakpoints
            got = one.out["dr7"]
            for n, may in enumerate(one.armed):
                bits, wanted = got >> 2 * n & 3, own >> 2 * n & 3
                t.check(may or not bits, f"the guest's breakpoint {n} at {held[n]:x} would watch Zeno", "not armed", f"DR7 {got:x}")
                t.check(not may or bits == wanted, f"the guest's breakpoint {n} at {held[n]:x}, in its own memory, is not armed "
                        "as the guest has it", f"{wanted:x}", f"DR7 {got:x}")
            t.check(not got & GD, "the guest's DR7.GD would make Zeno's own moves fault", "GD=0", f"DR7 {got:x}")
            t.check(got & 0xFFFF0300 == own & 0xFFFF0300, "what the guest's breakpoints watch for is lost",
                    f"{own & 0xFFFF0300:x}", f"{got & 0xFFFF0300:x}")
        if one.in_guest:
            got = [one.in_guest[f"dr{n}"][0] for n in range(4)]
            t.check(got == held, "the CPU has other addresses in DR0 to DR3 while the guest runs", f"{held}", f"{got}")
        t.check(one.host[1]["dr7"] == one.host[0]["dr7"], "the guest's breakpoints are armed while Zeno runs",
                f"DR7 {one.host[0]['dr7'][0]:x}", f"{one.host[1]['dr7'][0]:x}")
        if not one.fetched:
            continue
        got = trial.value(one.fetched, "dr7")
        t.check(got == own, "the guest would read another DR7 than it has written", f"{own:x}", f"{got:x}")
        got = struct.unpack_from("<4Q", one.fetched, STATE_DR0)
        t.check(got == one.held, "the state's DR0 to DR3 are not those that the CPU holds for the guest",
                [f"{v:x}" for v in one.held], [f"{v:x}" for v in got])
        got = trial.value(one.fetched, "dr6")
        t.check(got == one.dr6, "the state's DR6 does not say why the guest's last #DB came", f"{one.dr6:x}", f"{got:x}")
    t.check(any(one.fetched for one in rounds), f"{flavour.FUNCTIONS[2]}() was not asked, or does not come back", "a call",
            run.text()[-400:])
    t.orderly(run)


def state_groups(t, flavour):
    """Only what was changed is written, only what is asked for is read."""
    rng = t.rng
    trial = flavour(t, 16, lambda n: ALL if n == 0 else anything(rng), lambda _: anything(rng))
    run, rounds = trial.run()
    t.check(sum(bool(one.fetched) for one in rounds) >= 8, "a round of the guest's has no end", "eight rounds", run.text()[-400:])
    for one in rounds:
        if not one.out or one.valid is None or not one.fetched:
            continue
        for name, group in trial.hardware().items():
            if one.dirty & group or not group:
                if name != "dr7":
                    trial.in_structure(one, name)
            else:
                wanted, got = trial.for_cpu(one.old, name), one.out[name]
                t.check(trial.same(name, got, wanted), f"nobody had changed the guest's {GROUPS[group]}, and {shown(name)} was "
                        "written over: what the guest itself did since is lost", f"{wanted:#x}", f"{got:#x}")
        read = [name for name, (group, _, _) in flavour.FIELDS.items() if group
                and trial.value(one.behind, name) != trial.value(one.spoilt, name)]
        t.check(not read, "an exit reads groups for which nobody has asked", "general registers, rip and rflags",
                ", ".join(map(shown, read[:6])))
        t.check(not one.valid, "behind an exit the state still passes for true: a handler that asks gets what was there before: "
                + ", ".join(words for bit, words in GROUPS.items() if one.valid & bit), "no group", f"{one.valid:x}")
        for name, (group, _, _) in flavour.FIELDS.items():
            if group and not one.asked & group:
                t.check(trial.value(one.fetched, name) == trial.value(one.spoilt, name), "somebody asked for other groups, and "
                        f"the state's {GROUPS[group]} were written over, too: what a handler had changed there is lost",
                        "as the handler left it", shown(name))
        before, after = one.known
        t.check(before == after, "somebody asked for other groups, and what is known of the others has changed: "
                + ", ".join(words for bit, words in GROUPS.items() if (before ^ after) & bit), f"{before:x}", f"{after:x}")
    again = [one.left_dirty for one in rounds if one.left_dirty]
    t.check(not again, f"behind {flavour.FUNCTIONS[0]}() groups still pass for changed: the next time they are written again, "
            "although nobody has changed them", "none", [f"{groups:x}" for groups in again])
    t.orderly(run)


def state_out(t, flavour):
    """Behind an exit: what is always true, and all groups when asked. (The run, the rounds.)"""
    trial = flavour(t, 2 * len(flavour.KINDS), lambda _: ALL, lambda _: ALL)
    run, rounds = trial.run()
    seen = [one for one in rounds if one.behind and one.fetched]
    t.check(len(seen) >= 2, f"no exit came back to {flavour.FUNCTIONS[2]}()", "at least two", run.text()[-400:])
    for one in seen:
        for name in flavour.ALWAYS:
            got, wanted = trial.value(one.behind, name), one.later[name]
            t.check(trial.alike(name, got, wanted), f"behind an exit {shown(name)} is not the guest's", f"{wanted:#x}", f"{got:#x}")
        for name, (group, _, _) in flavour.FIELDS.items():
            if group and name not in ("dr6", "dr7"):
                got, wanted = trial.value(one.fetched, name), trial.seen(one, name)
                t.check(trial.alike(name, got, wanted), f"the state's {shown(name)} is not as the guest left it"
                        f"{trial.why(one, name, got)}", f"{wanted:#x}", f"{got:#x}")
    return run, rounds
