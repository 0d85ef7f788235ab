"""Lab 4B: what an exit means, and events, on VT-x.

Equivalent: programs made for this run print the same under vmx as on the bare machine. Witnessed through Bochs' debugger:
how long the guest's own loops take, what vmx_interruptibility() says of a state that the debugger has written, and what
vmx_take_back() makes of an event that the CPU's VMREAD is made to tell.
"""

import re
import struct

from zeno.guests import exits, waits
from zeno.judging import headers
from zeno.judging.trial import Trouble

from .guests import LIMITS, labels, module, never_there, said_of_end
from .lab4 import FLAG_IF, GPRS, answer_vmreads, to_return, word
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
RIP_AT, RFLAGS_AT, STATE_STI, STATE_MOV_SS, STATE_NMI = headers.numbers(("vmm/vcpu.h", "vmm/x86/state.h"), (
    "offsetof(struct vcpu, state.rip)", "offsetof(struct vcpu, state.rflags)", "offsetof(struct cpu_state, sti_shadow)",
    "offsetof(struct cpu_state, mov_ss_shadow)", "offsetof(struct cpu_state, nmi_blocked)"))
VECTORING, = headers.numbers(("vmm/vmx/vmx.h",), ("offsetof(struct vmx, vectoring)",))
ENGINE_DATA, = headers.numbers(("vmm/vcpu.h",), ("offsetof(struct vcpu, engine_data)",))
VECTORING_EVENT, VECTORING_ERROR = 0x4408, 0x440A


def kept(t):
    """The grader writes the state's three, and asks vmx_interruptibility()."""
    program, _ = waits.targets(t.rng, 6)
    guest = program.assemble(t.directory, "shadow")
    entry, wrong, asked = t.symbol("vmx_interruptibility"), [], []

    def ask(client, regs):
        state = regs["rdi"]
        places = state + STATE_STI, state + STATE_MOV_SS, state + STATE_NMI
        before = [client.read(at, 1) for at in places]
        cases = [tuple(n >> bit & 1 for bit in range(3)) for n in range(8)]
        t.rng.shuffle(cases)
        for case in cases:
            for at, value in zip(places, case):
                client.write(at, bytes([value]))
            for name in (*GPRS, "rip"):
                client.set_reg(name, regs[name])
            to_return(client, client.regs())
            got = client.regs()["rax"] & 0xFFFFFFFF
            asked.append(case)
            held = (STI if case[0] else 0, MOV_SS if case[1] else 0)
            if got & (STI | MOV_SS) not in [one for one in held if one] + [0] * (not any(held)):
                wrong.append(f"sti {case[0]}, mov ss {case[1]}: bits {got & 3:x}")
            if bool(got & NMI_BLOCKED) != bool(case[2]):
                wrong.append(f"NMI blocked {case[2]}: bits {got:x}")
            if got & ~(STI | MOV_SS | NMI_BLOCKED):
                wrong.append(f"bits {got:x}, of which the CPU knows none but 0 to 3")
        for at, value in zip(places, before):
            client.write(at, value)
        for name in (*GPRS, "rip"):
            client.set_reg(name, regs[name])
        return True

    run, _ = t.witness(commands("shadow"), {entry: ask}, modules=[module(guest)], elf=[guest], limits=LIMITS)
    if not asked:
        never_there(t, run, "a call of vmx_interruptibility()")
    t.check(not wrong, f"what holds interrupts back went astray: {wrong[:1]}", "at most one of bits 0 and 1, bit 3 for NMIs", wrong)
    t.orderly(run)


def told(client, regs, info):
    """Run vmx_take_back() to its end, whose VMREADs say that the CPU was delivering this."""
    client.write(word(client, regs["rdi"] + ENGINE_DATA) + VECTORING, struct.pack("<I", info & 0xFFFFFFFF))
    answer_vmreads(client, regs, {VECTORING_EVENT: info & 0xFFFFFFFF, VECTORING_ERROR: info >> 32})


def taken_back(t):
    """The grader says at chosen exits what the CPU was delivering: the guest's frames tell the rest."""
    events = list(interrupted(t.rng))
    program, names = waits.targets(t.rng, len(events))
    guest = program.assemble(t.directory, "targets")
    places = dict(zip(labels(guest, *names), events))
    behind = dict(zip(places, labels(guest, *(f"behind{n}" for n in range(len(names))))))
    met = []

    def look(client, regs):
        rip = word(client, regs["rdi"] + RIP_AT)
        if rip in places and rip not in met:
            met.append(rip)
            info = places[rip][0]
            if info & VALID and info >> 8 & 7 == INTERRUPT:  # else no CPU would have begun with it
                flags = word(client, regs["rdi"] + RFLAGS_AT)
                client.write(regs["rdi"] + RFLAGS_AT, struct.pack("<Q", flags | FLAG_IF))
            told(client, regs, info)
        return len(met) == len(places)

    run, _ = t.witness(commands("targets"), {t.symbol("vmx_take_back"): look}, modules=[module(guest)], elf=[guest],
                       limits=LIMITS)
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
