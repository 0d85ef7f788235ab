"""Lab 4B: what an exit means, and events, on VT-x.

Equivalent: programs made for this run print the same under vmx as on the bare machine. Witnessed through Bochs' debugger:
how long the guest's own loops take, what vmx_interruptibility() says of a state that the debugger has written, and what
vmx_take_back() makes of an event that the CPU's VMREAD is made to tell.
"""

import re
import struct
from dataclasses import dataclass

from zeno.guests import exits, waits
from zeno.judging import headers
from zeno.judging.trial import Trouble

from .guests import LIMITS, labels, module, never_there, said_of_end
from .lab4 import FLAG_IF, GPRS, STOPS, answer_vmreads, to_return, word
from .lab4sb import (FRAME, INTERRUPT, VALID, commands, hundred, in_words, interrupted, ports, refused, registers,
                     run_both, shadows, shown, strings, timers, windows)

__all__ = ["gone", "hundred", "kept", "native", "ports", "refused", "registers", "shadows", "strings", "taken_back", "timers",
           "windows"]

TIME = re.compile(r"Next at t=(\d+)")
ROUNDS = 60


# -- 4.5: exits -------------------------------------------------------------------------------------


GONE = (("out dx, al", "in al, dx"), ("rdmsr", "wrmsr"), ("mov cr4, eax", "mov cr4, ebx"), ("mov dr1, eax", "mov ebx, dr1"),
        ("outsb", "insb"))
"""(What the CPU executes, what is there when Zeno could look.)"""


def gone(t):
    """Instructions that are others by the time: what was executed counts, and the CPU has said what it was."""
    for kind in t.rng.sample(GONE, 3):
        run_both(t, exits.gone(t.rng, kind), "gone")


def paces(client, points):
    """How long it takes from each of these addresses to the next one, ROUNDS times: in instructions."""
    times = []
    for point in points:
        client.insert(point)
    for _ in range(ROUNDS):
        client.cont()
        times.append((client.regs()["rip"], int(TIME.search(client.said)[1])))
    for point in points:
        client.remove(point)
    return [(at, later - now) for (at, now), (_, later) in zip(times, times[1:])]


def native(t):
    """The guest's instructions run themselves, one at a time: the debugger has its clock at their own addresses."""
    program, names = exits.busy(t.rng)
    guest = program.assemble(t.directory, "guest")
    points, seen = labels(guest, *names), {}

    def look(kind):
        def call(client, _regs):
            seen[kind] = paces(client, points)
            return True
        return call

    first = points[0]
    bare, _ = t.witness("", {first: look("bare")}, kernel=guest, elf=[guest], limits=LIMITS)
    t.runs.pop()
    if len(seen.get("bare", ())) < ROUNDS - 1:
        raise Trouble(f"the bare machine never came to the guest's loop: {bare.detail}")
    run, _ = t.witness(commands("guest"), {first: look("vmx")}, modules=[module(guest)], elf=[guest], limits=LIMITS)
    if len(seen.get("vmx", ())) < ROUNDS - 1:
        never_there(t, run, "the guest's loop at its own address")
    same = sum(a == b for a, b in zip(seen["bare"], seen["vmx"]))
    t.notes.append(f"{same} of {ROUNDS - 1} stretches of the guest's loop took as long as on the bare machine")
    t.check(same >= ROUNDS - 5, "the guest's loop does not run at the bare machine's pace", seen["bare"][:8], seen["vmx"][:8])
    compared, _ = run_both(t, program, "whole")
    t.orderly(compared)


# -- 4.6: events ------------------------------------------------------------------------------------


STI, MOV_SS, SMI, NMI_BLOCKED = 1, 2, 4, 8
RIP_AT, RFLAGS_AT, STATE_STI, STATE_MOV_SS, STATE_NMI, STATE_RFLAGS = headers.numbers(("vmm/vcpu.h", "vmm/x86/state.h"), (
    "offsetof(struct vcpu, state.rip)", "offsetof(struct vcpu, state.rflags)", "offsetof(struct cpu_state, sti_shadow)",
    "offsetof(struct cpu_state, mov_ss_shadow)", "offsetof(struct cpu_state, nmi_blocked)", "offsetof(struct cpu_state, rflags)"))
VECTORING, = headers.numbers(("vmm/vmx/vmx.h",), ("offsetof(struct vmx, vectoring)",))
ENGINE_DATA, = headers.numbers(("vmm/vcpu.h",), ("offsetof(struct vcpu, engine_data)",))
WRITTEN_BITS, = headers.numbers(("vmm/vmx/vmx.h",), ("offsetof(struct vmx, interruptibility)",))
VECTORING_EVENT, VECTORING_ERROR = 0x4408, 0x440A


def kept(t):
    """The grader writes the state's three, and asks vmx_interruptibility()."""
    program, _ = waits.targets(t.rng, 6)
    guest = program.assemble(t.directory, "shadow")
    entry, wrong, asked = t.symbol("vmx_interruptibility"), [], []

    def hold(client, regs):
        """Who writes only what changes is told that something was held back: so the question comes."""
        client.write(word(client, regs["rdi"] + ENGINE_DATA) + WRITTEN_BITS, bytes([STI]))
        return bool(asked)

    def ask(client, regs):
        state = regs["rdi"]
        places = state + STATE_STI, state + STATE_MOV_SS, state + STATE_NMI
        before = [client.read(at, 1) for at in places]
        flags = word(client, state + STATE_RFLAGS)
        cases = [tuple(n >> bit & 1 for bit in range(4)) for n in range(16)]
        t.rng.shuffle(cases)
        for case in cases:
            for at, value in zip(places, case):
                client.write(at, bytes([value]))
            client.write(state + STATE_RFLAGS, struct.pack("<Q", flags & ~FLAG_IF | FLAG_IF * case[3]))
            for name in (*GPRS, "rip"):
                client.set_reg(name, regs[name])
            to_return(client, client.regs())
            got = client.regs()["rax"] & 0xFFFFFFFF
            asked.append(case)
            held = (STI if case[0] and case[3] else 0, MOV_SS if case[1] else 0)  # with IF=0 bit 0 must be 0: SDM 3C 27.3.1.5
            if got & (STI | MOV_SS) not in [one for one in held if one] + [0] * (not any(held)):
                wrong.append(f"sti {case[0]}, mov ss {case[1]}, IF {case[3]}: bits {got & 3:x}")
            if bool(got & NMI_BLOCKED) != bool(case[2]):
                wrong.append(f"NMI blocked {case[2]}: bits {got:x}")
            if got & ~(STI | MOV_SS | NMI_BLOCKED):
                wrong.append(f"bits {got:x}, of which the CPU knows none but 0 to 3")
        for at, value in zip(places, before):
            client.write(at, value)
        client.write(state + STATE_RFLAGS, struct.pack("<Q", flags))
        for name in (*GPRS, "rip"):
            client.set_reg(name, regs[name])
        return True

    points = {t.symbol("vmx_state_to_vmcs"): hold, entry: ask}
    run, _ = t.witness(commands("shadow"), points, modules=[module(guest)], elf=[guest], limits=LIMITS)
    if not asked:
        never_there(t, run, "a call of vmx_interruptibility()")
    t.check(not wrong, f"what holds interrupts back went astray: {wrong[:1]}",
            "at most one of bits 0 and 1, bit 0 only with IF=1, bit 3 for NMIs", wrong)
    t.orderly(run)


VCPU_VALID, STATE_CR, CR0_AT, PRIMARY = headers.numbers(("vmm/vcpu.h", "vmm/vmx/vmx.h"), (
    "offsetof(struct vcpu, valid)", "STATE_CR", "offsetof(struct vcpu, state.cr0)", "offsetof(struct vmx, primary)"))
ENTRY_EVENT, ENTRY_ERROR, ENTRY_LENGTH, PRIMARY_CONTROLS, NMI_WINDOW, IRQ_WINDOW = headers.numbers(("vmm/vmx/vmcs.h",), (
    "ENTRY_EVENT", "ENTRY_EVENT_ERROR", "ENTRY_EVENT_LENGTH", "PRIMARY_CONTROLS", "PRIMARY_NMI_WINDOW", "PRIMARY_IRQ_WINDOW"))
WINDOWS = {IRQ_WINDOW: "interrupt-window", NMI_WINDOW: "NMI-window"}
KINDS = headers.numbers(("vmm/event.h",), ("EVENT_FAULT", "EVENT_SOFTWARE", "EVENT_INTERRUPT", "EVENT_NMI"))
FAULT, SOFTWARE, EXTERNAL, AN_NMI = KINDS
TAKEN, NOT_NOW = headers.numbers(("vmm/event.h",), ("INJECTED", "REFUSED"))
RF, PE, HAS_ERROR = 1 << 16, 1, 1 << 11


@dataclass
class Given:
    """A call of vmx_inject(), and what must come of it: SDM 3C "VM-Entry Controls for Event Injection"."""

    words: str
    kind: int
    vector: int
    theirs: int
    """The CPU's number of its kind."""
    error: int = None
    length: int = 0
    sets_rf: bool = False
    real: bool = False
    waits: bool = False
    """There is an event already."""
    blocked: bool = False
    """An NMI is being handled."""

    @property
    def event(self):
        """struct event"""
        return struct.pack("<4BI", self.kind, self.vector, self.error is not None, self.length, self.error or 0)

    @property
    def has_error(self):
        """Does the CPU deliver an error code?"""
        return self.error is not None and not self.real


def given(rng):
    """Events of all kinds, in a random order."""
    error, fault = rng.getrandbits(15), rng.choice((0, 5, 6, 7))
    found = [Given("int n", SOFTWARE, rng.randrange(0x30, 0x38), 4, length=2), Given("int3", SOFTWARE, 3, 6, length=1),
             Given("into", SOFTWARE, 4, 6, length=1), Given("int1", FAULT, 1, 5, length=1), Given("a trap, #DB", FAULT, 1, 3),
             Given("an interrupt", EXTERNAL, 0x31, 0), Given("an interrupt", EXTERNAL, 8, 0), Given("an NMI", AN_NMI, 2, 2),
             Given("a fault", FAULT, fault, 3, sets_rf=True),
             Given("a fault", FAULT, rng.choice((10, 11, 12, 13)), 3, error, sets_rf=True),
             Given("a fault of real mode's", FAULT, 13, 3, error, sets_rf=True, real=True),
             Given("a second event", EXTERNAL, 0x32, 0, waits=True), Given("a second event", FAULT, 13, 3, error, waits=True),
             Given("a second NMI", AN_NMI, 2, 2, blocked=True)]
    rng.shuffle(found)
    return found


def injects(t, client, regs):
    """At vmx_inject(), once: the grader calls it with events of its own, and puts all back. What is wrong, or None."""
    vcpu, wrong, rng = regs["rdi"], None, t.rng
    primary_at = word(client, vcpu + ENGINE_DATA) + PRIMARY
    base = vcpu + headers.offset_of(headers.ROOT, "vmm/vcpu.h", "struct vcpu", "state")
    places = [(regs["rsi"], 8), (vcpu + RIP_AT, 8), (vcpu + RFLAGS_AT, 8), (base + STATE_STI, 1), (base + STATE_MOV_SS, 1),
              (base + STATE_NMI, 1), (vcpu + CR0_AT, 8), (vcpu + VCPU_VALID, 1), (primary_at, 4)]
    before = [client.read(*place) for place in places]
    # The CPU gets nothing of it: no event, no window, and no length that a later one without its own would find.
    instead = {ENTRY_EVENT: 0, ENTRY_LENGTH: 0, PRIMARY_CONTROLS: struct.unpack("<I", before[-1])[0]}
    for one in given(rng):
        rip, flags, held, written = rng.getrandbits(31), rng.getrandbits(16) & ~0x1700 | 2, rng.choice(((1, 0), (0, 1))), {}
        if one.kind in (EXTERNAL, AN_NMI):  # for these the guest must be open, or they may be refused: SDM 3C 27.3.1.5
            flags, held = flags | FLAG_IF, (0, 0)
        values = (one.event, struct.pack("<Q", rip), struct.pack("<Q", flags), bytes([held[0]]), bytes([held[1]]),
                  bytes([one.blocked]), struct.pack("<Q", 0x10 | (PE if not one.real else 0)),
                  bytes([before[-2][0] | STATE_CR]), before[-1])
        for (at, _), value in zip(places, values):
            client.write(at, value)
        answers = {ENTRY_EVENT: VALID | rng.randrange(32, 256) if one.waits else rng.getrandbits(31)}
        if not answer_vmreads(client, regs, answers, written, instead):
            wrong = f"vmx_inject() does not come back from {one.words}", "a return", "none"
            break
        got = [int.from_bytes(client.read(*place), "little") for place in places]
        wrong = told_wrong(one, client.regs()["rax"] & 0xFFFFFFFF, written, got, (rip, flags, held))
        if wrong:
            break
        for name in (*GPRS, "rip"):
            client.set_reg(name, regs[name])
    for (at, _), value in zip(places, before):
        client.write(at, value)
    return wrong


def told_wrong(one, answer, written, got, had):
    """What vmx_inject() has done wrong, or None: what it answers, what it has written into the VMCS and into the state."""
    words, label = f"{one.words} with vector {one.vector:02x}", VALID | one.theirs << 8 | HAS_ERROR * one.has_error | one.vector
    rip, flags, held = had
    wanted = NOT_NOW if one.waits or one.blocked else TAKEN
    state = f"IF={bool(flags & FLAG_IF):d}, shadows: sti {held[0]}, mov ss {held[1]}, NMI blocked {one.blocked:d}"
    names = {TAKEN: "INJECTED", NOT_NOW: "REFUSED"}
    if answer != wanted:
        return f"what vmx_inject() says of {words} is wrong ({state})", names[wanted], names.get(answer, f"{answer}")
    if got[1] != rip:
        return f"{words} moves the guest's rip: that is the CPU's, at the entry", f"rip {rip:x}", f"rip {got[1]:x}"
    rf = RF * (one.sets_rf and wanted == TAKEN)
    if got[2] != flags | rf:
        return (f"behind {words} the guest's rflags are others: a fault's handler sees RF, and no other one does", f"{flags | rf:x}",
                f"{got[2]:x}")
    if wanted == NOT_NOW:
        if ENTRY_EVENT in written or tuple(got[3:5]) != held:
            return f"{words} is refused, and something has changed", "nothing", f"{written}, shadows {got[3:5]}"
        if one.blocked and not written.get(PRIMARY_CONTROLS, 0) & NMI_WINDOW:
            return f"{words} is refused, and nobody will hear when it may come", "NMI-window exiting", f"{written}"
        return None
    if written.get(ENTRY_EVENT) != label:
        return f"the CPU would not deliver {words} as it is", f"{label:x}", f"{written.get(ENTRY_EVENT, 0):x}"
    if one.has_error and written.get(ENTRY_ERROR) != one.error:
        return f"{words} has another error code", f"{one.error:x}", f"{written.get(ENTRY_ERROR)}"
    if one.length and written.get(ENTRY_LENGTH) != one.length:
        return f"the handler of {words} returns to the wrong place", f"length {one.length}", f"{written.get(ENTRY_LENGTH)}"
    if any(got[3:5]):
        return f"{words} is delivered, and interrupts are still held back", "no shadow", f"{got[3:5]}"
    return None


def told(client, regs, info, windows_open):
    """Run vmx_take_back() to its end, whose VMREADs say that the CPU was delivering this; windows left open, or 0."""
    ours, written = word(client, regs["rdi"] + ENGINE_DATA), {}
    primary, = struct.unpack("<I", client.read(ours + PRIMARY, 4))
    client.write(ours + VECTORING, struct.pack("<I", info & 0xFFFFFFFF))
    client.write(ours + PRIMARY, struct.pack("<I", primary | windows_open))
    answer_vmreads(client, regs, {VECTORING_EVENT: info & 0xFFFFFFFF, VECTORING_ERROR: info >> 32}, written)
    return written.get(PRIMARY_CONTROLS, windows_open) & (IRQ_WINDOW | NMI_WINDOW)


def taken_back(t):
    """The grader says at chosen exits what the CPU was delivering: the guest's frames tell the rest."""
    events = list(interrupted(t.rng))
    program, names = waits.targets(t.rng, len(events))
    guest = program.assemble(t.directory, "targets")
    places = dict(zip(labels(guest, *names), events))
    behind = dict(zip(places, labels(guest, *(f"behind{n}" for n in range(len(names))))))
    met, tried, left = [], [], []

    def look(client, regs):
        """At a place of the guest's: what the exit that comes there was delivering."""
        place = regs["rip"]
        client.insert(take_back)
        for _ in range(STOPS):  # a tick may come first
            client.cont()
            regs = client.regs()
            if regs["rip"] == take_back and word(client, regs["rdi"] + RIP_AT) == place and place not in met:
                met.append(place)
                info = places[place][0]
                if info & VALID and info >> 8 & 7 == INTERRUPT:  # else no CPU would have begun with it
                    flags = word(client, regs["rdi"] + RFLAGS_AT)
                    client.write(regs["rdi"] + RFLAGS_AT, struct.pack("<Q", flags | FLAG_IF))
                left.append(told(client, regs, info, t.rng.choice((IRQ_WINDOW, NMI_WINDOW, IRQ_WINDOW | NMI_WINDOW))))
                break
        client.remove(take_back)
        return len(met) == len(places) or left[-1:] > [0]

    def tries(client, regs):
        if not tried:
            tried.append(injects(t, client, regs))
        return bool(tried[0])

    take_back = t.symbol("vmx_take_back")
    run, _ = t.witness(commands("targets"), dict.fromkeys(places, look) | {t.symbol("vmx_inject"): tries},
                       modules=[module(guest)], elf=[guest], limits=LIMITS)
    if tried and tried[0]:
        t.fail(*tried[0])
    for bit, words in WINDOWS.items():
        t.check(not any(one & bit for one in left), f"behind vmx_take_back() {words} exiting is still on", "no window", f"{left[-1]:x}")
    if len(met) < len(places):
        never_there(t, run, "the exits at which the grader looks")
    t.orderly(run)
    printed = "\n".join(re.findall(r"^d1\| (.*?)\r?$", run.text(), re.M)).encode()
    frames = [tuple(int(part, 16) for part in one) for one in FRAME.findall(printed)]
    for place, (info, vector, error) in places.items():
        got = [frame for frame in frames if frame[2] == behind[place]]
        wanted = [] if vector is None else [(vector, error, behind[place])]
        what = "an exit came while the CPU delivered " + in_words(info).replace("EXITINTINFO", "IDT-vectoring information")
        t.check(got == wanted, f"{what}; then its handler ran {len(got)} times behind that instruction, and should "
                f"{'not have' if vector is None else 'once'}; {said_of_end(run)}", shown(wanted), shown(got))
    if not tried:
        never_there(t, run, "vmx_inject()")
