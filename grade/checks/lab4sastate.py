"""Lab 4sA, exercise 4s.3: the guest's state on its way into the VMCB and back.

Witnessed through QEMU's GDB stub: the command `first N state` moves a vCPU's state through the student's functions. At
each call the grader puts random values on both sides, marks groups as it likes, and reads what has become of them from
memory; at the guest's first instruction it asks the emulator for what the CPU has.
"""

import re
import struct
from dataclasses import dataclass, field, replace

from zeno.judging import headers
from zeno.judging.trial import Trouble
from zeno.machines import machine

from .lab4 import CODE_AT, said, to_return
from .lab4sa import canonical, no_ticks

LIMITS = machine.Limits(instructions=200_000_000, cpu_seconds=15.0, console_bytes=1 << 20, side_bytes=16 << 20)
"""A right answer needs 0.3 CPU seconds. A host without paging runs through empty memory, where each block is a new one for
the emulator: the limit of instructions alone would let it go on for minutes."""
SEG, TABLES, CR, DR, MSR, ALL = headers.numbers(("vmm/vcpu.h",), (
    "STATE_SEG", "STATE_TABLES", "STATE_CR", "STATE_DR", "STATE_MSR", "STATE_ALL"))
GROUPS = {SEG: "segments", TABLES: "GDTR and IDTR", CR: "control registers", DR: "debug registers", MSR: "MSRs"}
VCPU_STATE, VCPU_VALID, VCPU_DIRTY, VCPU_ENGINE, VMCB_SIZE, VMCB_DR7, VMCB_CPL, STATE_SIZE, STATE_DR0, HOLE = headers.numbers(
    ("vmm/vcpu.h", "vmm/svm/vmcb.h", "kern/map.h"), (
        "offsetof(struct vcpu, state)", "offsetof(struct vcpu, valid)", "offsetof(struct vcpu, dirty)",
        "offsetof(struct vcpu, engine_data)", "sizeof(struct vmcb)", "offsetof(struct vmcb, dr7)",
        "offsetof(struct vmcb, cpl)", "sizeof(struct cpu_state)", "offsetof(struct cpu_state, dr)", "KB"))
SVME, NXE, LME, SCE, PAE, GD = 1 << 12, 1 << 11, 1 << 8, 1, 1 << 5, 1 << 13
CODE, DATA, PRESENT, USABLE = 0x1B, 0x13, 0x80, 0xC00
"""Attributes as struct segment has them: readable code, writable data, P, and 32 bits with a scaled limit."""
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
MSRS = ("star", "lstar", "cstar", "sfmask", "kernel_gs_base", "sysenter_cs", "sysenter_esp", "sysenter_eip", "pat",
        "tsc_offset")


def _fields():
    """{name: (group, offset in the state, offset in the VMCB, bytes)}; no group: on every way."""
    seg = [f"seg[SEG_{name.upper()}]" for name in SEGMENTS[:6]] + list(SEGMENTS[6:])
    rows = [("rax", 0, "gpr[RAX]", "rax", 8), ("rsp", 0, "gpr[RSP]", "rsp", 8), ("rip", 0, "rip", "rip", 8),
            ("rflags", 0, "rflags", "rflags", 8)]
    for name, where in zip(SEGMENTS, seg):
        rows += [(f"{name}.{part}", SEG, f"{where}.{part}", f"{name}.{part}", size)
                 for part, size in (("sel", 2), ("attr", 2), ("limit", 4), ("base", 8))]
    rows += [(f"{name}.{part}", TABLES, f"{name}.{part}", f"{name}.{part}", size)
             for name in ("gdtr", "idtr") for part, size in (("limit", 2), ("base", 8))]
    rows += [(name, CR, name, name, 8) for name in ("cr0", "cr2", "cr3", "cr4", "efer")]
    rows += [(name, MSR, name, name, 8) for name in MSRS]
    rows += [("dr6", DR, "dr[6]", "dr6", 8), ("dr7", DR, "dr[7]", "dr7", 8)]
    state = headers.numbers(("vmm/x86/state.h",), [f"offsetof(struct cpu_state, {row[2]})" for row in rows])
    vmcb = headers.numbers(("vmm/svm/vmcb.h",), [f"offsetof(struct vmcb, {row[3]})" for row in rows])
    return {row[0]: (row[1], at, there, row[4]) for row, at, there in zip(rows, state, vmcb)}


FIELDS = _fields()


# -- random states that a CPU takes ------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """What a state is like."""

    ring: int
    real: bool = False
    conforming: bool = False
    """Its code segment: its DPL is not the ring."""
    half_long: bool = False
    """LME without PAE."""


KINDS = [Kind(0, real=True), Kind(0, half_long=True), Kind(3, conforming=True), Kind(3)]


def segments(rng, kind, code_base):
    """Six segments and two more: nobody but the first instruction's fetch uses them."""
    found = {}
    for name in SEGMENTS:
        found[f"{name}.sel"] = rng.getrandbits(16)
        found[f"{name}.limit"] = rng.getrandbits(32)
        found[f"{name}.base"] = rng.getrandbits(32)
        found[f"{name}.attr"] = DATA | PRESENT | USABLE * rng.randrange(2) | kind.ring << 5
    found["cs.attr"] = CODE | PRESENT | USABLE | (4 if kind.conforming else kind.ring << 5)
    found["cs.base"], found["cs.limit"] = code_base, 0xFFFFFFFF
    if kind.real:
        found["cs.sel"] |= 3
        found["ss.sel"] |= 1
    else:
        found["cs.sel"] = found["cs.sel"] & ~3 | kind.ring
        found["ss.sel"] = found["ss.sel"] & ~3 | kind.ring
    found["ldtr.attr"], found["tr.attr"] = PRESENT | 2, PRESENT | 0xB
    return found


def a_state(rng, kind, code_base):
    """{field: value} of a state with which a guest can be entered at CODE_AT, without paging."""
    found = segments(rng, kind, code_base)
    found |= {"rax": rng.getrandbits(32), "rsp": rng.getrandbits(32), "rip": (CODE_AT - code_base) & 0xFFFFFFFF,
              "rflags": rng.getrandbits(22) & 0x243ED5 | 2}
    for name in ("gdtr", "idtr"):
        found[f"{name}.limit"], found[f"{name}.base"] = rng.getrandbits(16), rng.getrandbits(32)
    pae = not kind.half_long and rng.getrandbits(1)
    found["cr0"] = (not kind.real) | 0x10 | rng.getrandbits(19) & 0x5002E | rng.choice((0, 0x40000000, 0x60000000))
    found["cr2"], found["cr3"] = rng.getrandbits(32), rng.getrandbits(20) << 12
    found["cr4"] = rng.getrandbits(11) & ~PAE | PAE * pae
    found["efer"] = rng.choice((0, SCE)) | rng.choice((0, NXE)) | LME * (kind.half_long or pae and rng.getrandbits(1))
    found |= {name: canonical(rng) for name in MSRS}
    found |= {"sfmask": rng.getrandbits(22), "sysenter_cs": rng.getrandbits(16), "tsc_offset": rng.getrandbits(40),
              "pat": int.from_bytes(bytes(rng.choice((0, 1, 4, 5, 6, 7)) for _ in range(8)), "little"),
              "dr6": 0xFFFF0FF0 | rng.getrandbits(4) | rng.getrandbits(3) << 13, "dr7": 0x400 | rng.getrandbits(16) << 16}
    return found


def with_breakpoints(rng, one):
    """Armed, some of them over what is Zeno's; (DR0 to DR3, which of them may be armed)."""
    theirs = [rng.randrange(2) for _ in range(4)]
    theirs[rng.randrange(4)] = 1
    theirs[(theirs.index(1) + rng.randrange(1, 4)) % 4] = 0
    at = [HOLE + rng.getrandbits(30) if held else rng.getrandbits(31) & ~7 for held in theirs]
    one["dr7"] |= rng.getrandbits(8) | 0xFF * rng.randrange(2) | GD * rng.randrange(2) | 0x300 * rng.randrange(2)
    return at, [not held for held in theirs]


def hides_lme(state):
    """Zeno keeps LME from the CPU while PAE is 0: see efer_out()."""
    return bool(state["efer"] & LME and not state["cr4"] & PAE)


def for_cpu(state, name):
    """What the VMCB has of a field of the state."""
    return state[name] if name != "efer" else state["efer"] & ~(LME * hides_lme(state)) | SVME


def packed(values, old, column, dr0=None):
    """A state (column 1) or a VMCB (column 2) with these values in it."""
    raw = bytearray(old)
    for name, value in values.items():
        at, size = FIELDS[name][column], FIELDS[name][3]
        raw[at:at + size] = (value | SVME if name == "efer" and column == 2 else value).to_bytes(size, "little")
    if column == 1 and dr0:
        raw[STATE_DR0:STATE_DR0 + 32] = struct.pack("<4Q", *dr0)
    return bytes(raw)


def value_in(raw, name, column):
    """A field of a state or a VMCB."""
    at, size = FIELDS[name][column], FIELDS[name][3]
    return int.from_bytes(raw[at:at + size], "little")


# -- what the CPU has --------------------------------------------------------------------------------

SEGMENT_LINE = re.compile(r"^(ES|CS|SS|DS|FS|GS|LDT|TR) *=([0-9a-f]{4}) ([0-9a-f]+) ([0-9a-f]{8}) ([0-9a-f]{8})", re.M)
TABLE_LINE = re.compile(r"^(GDT|IDT)= +([0-9a-f]+) ([0-9a-f]+)", re.M)
NUMBER = re.compile(r"\b(CR[0234]|DR[0-7]|EFER)=([0-9a-f]+)")


def cpu_has(client):
    """{name: (value, mask of what the emulator shows)}"""
    text = client.monitor("info registers")
    found = {}
    for name, sel, base, limit, flags in SEGMENT_LINE.findall(text):
        name = {"LDT": "ldtr"}.get(name, name.lower())
        word = int(flags, 16)
        found |= {f"{name}.sel": (int(sel, 16), 0xFFFF), f"{name}.limit": (int(limit, 16), 0xFFFFFFFF),
                  f"{name}.base": (int(base, 16), (1 << 4 * len(base)) - 1),
                  f"{name}.attr": (word >> 8 & 0xFF | word >> 12 & 0xF00, 0xFFF)}
    for name, base, limit in TABLE_LINE.findall(text):
        found |= {f"{name.lower()}r.base": (int(base, 16), (1 << 4 * len(base)) - 1),
                  f"{name.lower()}r.limit": (int(limit, 16), 0xFFFF)}
    found |= {name.lower(): (int(value, 16), (1 << 4 * len(value)) - 1) for name, value in NUMBER.findall(text)}
    if len(found) < 40:
        raise Trouble(f"the emulator's `info registers` is not as it was: {text[:300]}")
    return found


HOSTS = [*(f"{name}.{part}" for name in SEGMENTS for part in ("sel", "attr", "limit", "base")), "gdtr.base", "gdtr.limit",
         "idtr.base", "idtr.limit", "cr0", "cr3", "cr4", "efer", "dr7"]
"""What is the host's while Zeno runs."""


# -- rounds ------------------------------------------------------------------------------------------


@dataclass
class Round:
    """One way into the guest and back."""

    state: dict
    vmcb: dict
    dirty: int
    """Groups that are marked as changed."""
    breakpoints: list
    armed: list
    cpl: int
    out: bytes = b""
    left_dirty: int = 0
    """... that were still marked at the next entry."""
    host: list = field(default_factory=list)
    """What the CPU had before and behind svm_state_to_vmcb()."""
    in_guest: dict = None
    later: dict = None
    """What the VMCB has behind the exit."""
    spoilt: bytes = b""
    behind: bytes = b""
    valid: int = None
    asked: int = 0
    held: tuple = ()
    """DR0 to DR3 of the CPU at svm_fetch()."""
    fetched: bytes = b""


class Rounds:
    """A boot of `first N state`, with random values on both sides of each of the student's functions."""

    def __init__(self, t, count, dirty, asked, arms=False):
        self.t, self.rng, self.count, self.arms = t, t.rng, count, arms
        self.dirty, self.asked = dirty, asked
        self.live, self.rounds, self.kinds = [], [], self.rng.sample(KINDS, len(KINDS))

    def vmcb_at(self, client, vcpu):
        """Where the vCPU's VMCB is."""
        svm, = struct.unpack("<Q", client.read(vcpu + VCPU_ENGINE, 8))
        return struct.unpack("<Q", client.read(svm, 8))[0]

    def into(self, client, regs):
        """At svm_state_to_vmcb."""
        vcpu, rng = regs["rdi"], self.rng
        if not self.rounds:
            no_ticks(client)
        vmcb, kind, base = self.vmcb_at(client, vcpu), self.kinds[len(self.rounds) % len(KINDS)], rng.getrandbits(32) & ~0xFFF
        one = Round(a_state(rng, kind, base), a_state(rng, replace(kind, half_long=False), base),
                    self.dirty(len(self.rounds)), [rng.getrandbits(31) for _ in range(4)], [False] * 4, kind.ring)
        if not one.dirty & SEG:  # these two are in the state at each exit: no handler changes them unsaid
            one.state |= {name: one.vmcb[name] for name in ("cs.attr", "ss.attr")}
        if self.arms:
            one.breakpoints, one.armed = with_breakpoints(rng, one.state)
        client.write(vcpu + VCPU_STATE, packed(one.state, client.read(vcpu + VCPU_STATE, STATE_SIZE), 1, one.breakpoints))
        if self.rounds:
            self.rounds[-1].left_dirty = client.read(vcpu + VCPU_DIRTY, 1)[0]
        client.write(vcpu + VCPU_DIRTY, bytes([one.dirty]))
        raw = bytearray(packed(one.vmcb, client.read(vmcb, VMCB_SIZE), 2))
        raw[VMCB_CPL:VMCB_CPL + 1] = bytes([one.vmcb["ss.attr"] >> 5 & 3 if not one.dirty & SEG else 3 - kind.ring])
        client.write(vmcb, bytes(raw))
        one.host.append(cpu_has(client))
        self.rounds.append(one)
        if not to_return(client, regs):
            return True
        one.out = client.read(vmcb, VMCB_SIZE)
        one.host.append(cpu_has(client))
        self.no_lme_alone(one)
        # Armed breakpoints would stop the emulator, whose VMRUN does not arm them.
        client.write(vmcb + VMCB_DR7, struct.pack("<Q", value_in(one.out, "dr7", 2) & ~0xFF))
        return self.enter(client, one)

    def no_lme_alone(self, one):
        """End the run before a VMRUN that would take the host's paging away: nothing that comes behind it says why."""
        efer, cr4 = value_in(one.out, "efer", 2), value_in(one.out, "cr4", 2)
        if efer & LME and not cr4 & PAE:
            self.live[0].stop()
            self.t.fail("the CPU would get LME in EFER while PAE in CR4 is 0, which is the host's end on this CPU",
                        "see efer_out()", f"EFER {efer:x}, CR4 {cr4:x}")

    def enter(self, client, one):
        """From there to the guest's first instruction, or, without one, to the next exit."""
        client.insert(CODE_AT)
        client.cont()
        client.remove(CODE_AT)
        regs = client.regs()
        if regs["rip"] == self.t.symbol("svm_state_from_vmcb"):
            return self.behind(client, regs)
        if regs["rip"] & 0xFFFFFFFF == one.state["rip"]:  # the stub's rip does not have the segment's base in it
            one.in_guest = cpu_has(client)
        return False

    def behind(self, client, regs):
        """At svm_state_from_vmcb: the guest has changed everything."""
        one, vcpu, rng = self.rounds[-1], regs["rdi"], self.rng
        vmcb, kind = self.vmcb_at(client, vcpu), replace(rng.choice(KINDS), half_long=False)
        one.later = a_state(rng, kind, rng.getrandbits(32) & ~0xFFF)
        raw = bytearray(packed(one.later, client.read(vmcb, VMCB_SIZE), 2))
        raw[VMCB_CPL:VMCB_CPL + 1] = bytes([kind.ring])  # as SS's DPL, which may be taken from here, too
        client.write(vmcb, bytes(raw))
        one.spoilt = packed(a_state(rng, Kind(3 - kind.ring), 0), client.read(vcpu + VCPU_STATE, STATE_SIZE), 1,
                            [rng.getrandbits(31) for _ in range(4)])
        client.write(vcpu + VCPU_STATE, one.spoilt)
        client.write(vcpu + VCPU_VALID, bytes([rng.choice((ALL, one.dirty, rng.randrange(1, ALL + 1)))]))
        if not to_return(client, regs):
            return True
        one.behind = client.read(vcpu + VCPU_STATE, STATE_SIZE)
        one.valid = client.read(vcpu + VCPU_VALID, 1)[0]
        return False

    def ask(self, client, regs):
        """At svm_fetch."""
        one, vcpu = self.rounds[-1], regs["rdi"]
        one.asked = self.asked(len(self.rounds) - 1)
        client.set_reg("rsi", one.asked)
        has = cpu_has(client)
        one.held = tuple(has[f"dr{n}"][0] for n in range(4))
        client.write(vcpu + VCPU_STATE, one.spoilt)
        if not to_return(client, regs):
            return True
        one.fetched = client.read(vcpu + VCPU_STATE, STATE_SIZE)
        return False

    def run(self):
        """(Run, rounds)"""
        t = self.t
        command = f"first {self.count} state"
        run, _ = t.witness(f"-- {command}; off", {
            t.symbol("svm_state_to_vmcb"): self.into, t.symbol("svm_state_from_vmcb"): self.behind,
            t.symbol("svm_fetch"): self.ask}, limits=LIMITS, hits=40 * self.count, keep=self.live)
        if run.end in (machine.End.INSTRUCTIONS, machine.End.CPU):
            t.fail(f"the host did not come back from entry {len(self.rounds)}", "an exit, and `off`", run.detail)
        if not self.rounds or not self.rounds[0].out:
            t.orderly(run)
        t.check(self.rounds and self.rounds[0].out, "svm_state_to_vmcb() does not come back", "a return", said(run, command))
        return run, self.rounds


def anything(rng):
    """A set of groups."""
    return rng.randrange(ALL + 1)


def shown(name):
    """A field's name for a person."""
    return name.replace(".", "'s ").replace("attr", "attributes").replace("sel", "selector").upper() if "." in name else name.upper()


def in_vmcb(t, one, name):
    """A field that svm_state_to_vmcb() must have written."""
    got, wanted, why = value_in(one.out, name, 2), for_cpu(one.state, name), ""
    if name == "efer" and not got & SVME:
        why = ", and the CPU takes no VMCB without AMD-V's own bit in it"
    t.check(got == wanted, f"the guest would go on with another {shown(name)} than its state has{why}", f"{wanted:#x}", f"{got:#x}")


# -- the tests ---------------------------------------------------------------------------------------


def state_in(t):
    """All groups are new: the VMCB has them, and the CPU at the guest's first instruction."""
    run, rounds = Rounds(t, 8, lambda _: ALL, lambda _: ALL).run()
    for one in rounds:
        t.check(one.out, "svm_state_to_vmcb() does not come back", "a return", "none")
        for name in one.state:
            in_vmcb(t, one, name)
        got = one.out[VMCB_CPL]
        t.check(got == one.cpl, f"the guest would go on in ring {got}: its CS is {one.state['cs.sel']:04x} with attributes "
                f"{one.state['cs.attr']:x}, its SS {one.state['ss.sel']:04x} with {one.state['ss.attr']:x}, CR0 "
                f"{one.state['cr0']:x}", f"ring {one.cpl}", f"ring {got}")
        before, after = one.host
        for name in HOSTS:
            t.check(before[name] == after[name], f"svm_state_to_vmcb() changes the host's own {shown(name)}",
                    f"{before[name][0]:#x}", f"{after[name][0]:#x}")
    seen = [one for one in rounds if one.in_guest]
    t.check(len(seen) >= 2, "the guest never came to its first instruction", f"rip {CODE_AT:x}", run.text()[-400:])
    for one in seen:
        for name in one.state:
            if name in one.in_guest and name != "dr7":
                (got, mask), wanted = one.in_guest[name], for_cpu(one.state, name)
                t.check(got == wanted & mask, f"at the guest's first instruction {shown(name)} is not what its state says",
                        f"{wanted & mask:#x}", f"{got:#x}")
    t.orderly(run)


def state_debug(t):
    """Debug registers: the guest's own, those that may watch, and those that no VMCB has."""
    rng = t.rng
    run, rounds = Rounds(t, 8, lambda n: ALL if n == 0 else anything(rng), lambda _: DR, arms=True).run()
    own = held = None
    for one in rounds:
        if one.dirty & DR:
            own, held = one.state["dr7"], one.breakpoints
            got = value_in(one.out, "dr7", 2)
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
        got = value_in(one.fetched, "dr7", 1)
        t.check(got == own, "the guest would read another DR7 than it has written", f"{own:x}", f"{got:x}")
        got = struct.unpack_from("<4Q", one.fetched, STATE_DR0)
        t.check(got == one.held, "the state's DR0 to DR3 are not those that the CPU holds for the guest",
                [f"{v:x}" for v in one.held], [f"{v:x}" for v in got])
        t.check(value_in(one.fetched, "dr6", 1) == one.later["dr6"], "the state's DR6 does not say why the guest's last #DB came",
                f"{one.later['dr6']:x}", f"{value_in(one.fetched, 'dr6', 1):x}")
    t.check(any(one.fetched for one in rounds), "svm_fetch() was not asked, or does not come back", "a call", run.text()[-400:])
    t.orderly(run)


def state_groups(t):
    """Only what was changed is written, only what is asked for is read."""
    rng = t.rng
    run, rounds = Rounds(t, 16, lambda n: ALL if n == 0 else anything(rng), lambda _: anything(rng)).run()
    t.check(len(rounds) > 8 and rounds[7].fetched, "a round of `first` has no end", "eight rounds", run.text()[-400:])
    for one in rounds:
        if not one.out or one.valid is None or not one.fetched:
            continue
        for name, (group, _, _, _) in FIELDS.items():
            if one.dirty & group or not group:
                if name != "dr7":
                    in_vmcb(t, one, name)
            else:
                wanted = one.vmcb[name] | (SVME if name == "efer" else 0)
                got = value_in(one.out, name, 2)
                t.check(got == wanted, f"nobody had changed the guest's {GROUPS[group]}, and {shown(name)} was written over: what "
                        "the guest itself did since is lost", f"{wanted:#x}", f"{got:#x}")
        read = [name for name, (group, _, _, _) in FIELDS.items() if group and name not in ("cs.attr", "ss.attr")
                and value_in(one.behind, name, 1) != value_in(one.spoilt, name, 1)]
        t.check(not read, "an exit reads groups for which nobody has asked", "four registers, and the attributes of CS and SS",
                ", ".join(map(shown, read[:6])))
        t.check(not one.valid, "behind an exit the state still passes for true: a handler that asks gets what was there before: "
                + ", ".join(words for bit, words in GROUPS.items() if one.valid & bit), "no group", f"{one.valid:x}")
        for name, (group, _, _, _) in FIELDS.items():
            if group and not one.asked & group and name not in ("cs.attr", "ss.attr"):
                t.check(value_in(one.fetched, name, 1) == value_in(one.spoilt, name, 1), f"somebody asked for other groups, and "
                        f"the state's {GROUPS[group]} were written over, too: what a handler had changed there is lost",
                        "as the handler left it", shown(name))
    again = [one.left_dirty for one in rounds if one.left_dirty]
    t.check(not again, "at the next entry groups still pass for changed: they are written again, over what the guest did", "none",
            [f"{groups:x}" for groups in again])
    t.orderly(run)


def state_out(t):
    """Behind an exit: what is always true, and all groups when asked."""
    run, rounds = Rounds(t, 8, lambda _: ALL, lambda _: ALL).run()
    seen = [one for one in rounds if one.behind and one.fetched]
    t.check(len(seen) >= 2, "no exit came back to svm_fetch()", "at least two", run.text()[-400:])
    for one in seen:
        for name in ("rax", "rsp", "rip", "rflags", "cs.attr", "ss.attr"):
            got = value_in(one.behind, name, 1)
            t.check(got == one.later[name], f"behind an exit {shown(name)} is not the guest's", f"{one.later[name]:#x}", f"{got:#x}")
        for name, (group, _, _, _) in FIELDS.items():
            if not group or name == "dr7":
                continue
            got, wanted, why = value_in(one.fetched, name, 1), one.later[name], ""
            if name == "efer":
                wanted |= LME * hides_lme(one.state)
                why = ": the guest sees that it is one" if got & SVME else ": its LME is only kept from the CPU" if got != wanted else ""
            t.check(got == wanted, f"the state's {shown(name)} is not as the guest left it{why}", f"{wanted:#x}", f"{got:#x}")
    t.orderly(run)
