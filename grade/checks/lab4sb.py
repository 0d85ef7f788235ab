"""Lab 4s, half B: what an exit means, and interrupts.

Equivalent: programs made for this run print the same under svm as on the bare machine. Witnessed: how often the
guest's own instructions ran, counted from outside.
"""

import random
import re
import struct

from zeno.guests import exits, irqs, waits
from zeno.judging import headers
from zeno.judging.trial import Trouble
from zeno.machines import machine

from .guests import LIMITS, compare, labels, life, module, never_there, said_of_end
from .lab4 import GPRS, STOPS, to_return, word
from .lab4sa import vmcb_of

FEW = machine.Limits(instructions=600_000_000, console_bytes=1 << 20, side_bytes=64 << 20)


# -- what all of them share -------------------------------------------------------------------------


def commands(*names, trace=1, options=""):
    """The kernel's command line: start these guests one after the other, then turn off."""
    starts = "; ".join(f"start {name}" for name in names)
    return f"trace={trace}{options} -- {starts}; off"


def run_both(t, program, name="guest", watch=(), icount=False):
    """A program bare and under the engine: same output, same exit code, the host alive. (Run, bare)"""
    program.slow_uart = t.machine == "bochs"
    guest = program.assemble(t.directory, name)
    at = labels(guest, *watch)
    bare = t.bare(guest, icount=icount, limits=FEW, watch=tuple(at))
    run = t.boot(commands(name), modules=[module(guest)], elf=[guest], icount=icount, limits=FEW, watch=tuple(at))
    compare(t, bare, run, 0)
    t.orderly(run)
    return run, bare


# -- 4s.5: exits ------------------------------------------------------------------------------------


def ports(t):
    """in and out of all sizes, to devices and to nobody."""
    run_both(t, exits.ports(t.rng))


def strings(t):
    """ins and outs in their forms."""
    run_both(t, exits.strings(t.rng))


def registers(t):
    """Control and debug registers, MSRs, CPUID."""
    run_both(t, exits.registers(t.rng))


STALE = (("outsb", ""), ("cpuid", ""), ("outsb", "insb"), ("mov cr4, eax", "mov ebx, cr4"), ("mov eax, dr7", "nop"))
"""(What the CPU executes, what is there when Zeno looks.)"""


def stale(t):
    """Instructions that are gone, or others, when Zeno reads them: it does not do what was not executed."""
    honest = exits.ports(random.Random(t.rng.getrandbits(32))).assemble(t.directory, "after")
    bare, modules, names = t.bare(honest), [module(honest)], []
    for number, kind in enumerate(STALE):
        modules.append(module(exits.stale(t.rng, kind).assemble(t.directory, f"stale{number}")))
        names += [f"stale{number}", "after"]
    # By a clock of instructions: where the machine is slow, a tick of the host's right before the instruction flushes the TLB,
    # and then the CPU itself fetches what there is by now.
    run = t.boot(commands(*names), modules=modules, elf=[honest], limits=FEW, icount=True)
    for number, (executed, there) in enumerate(STALE):
        one = life(run, 2 * number)
        said = f"a page with `{executed}`, where by then " + (f"`{there}` stands" if there else "nothing is")
        t.equal(b"begins\n", one.output, f"what a guest prints before it runs into {said}")
        t.check(one.end is not None and one.end[0] == "stopped", f"{said}: the guest goes on; {one.said()}",
                "it is stopped", one.said())
        compare(t, bare, run, 2 * number + 1)
    t.orderly(run)


def native(t):
    """The guest's instructions run themselves, once each: it is no interpreter."""
    program, names = exits.busy(t.rng)
    run, bare = run_both(t, program, watch=names)
    if not run.counts or not bare.counts:
        raise Trouble("nothing counts instructions here: the TCG plugin is missing")
    t.equal(sorted(bare.counts.watches.values()), sorted(run.counts.watches.values()),
            "how often each of the guest's loops ran at its own address")
    share = run.counts.low / bare.counts.total
    t.notes.append(f"{share:.1%} of the guest's {bare.counts.total} instructions ran themselves")
    t.check(share >= 0.99, f"{share:.1%} of the guest's instructions ran themselves", "at least 99 %", f"{share:.1%}")


# -- 4s.6: events -----------------------------------------------------------------------------------


def facts(t, program, name):
    """A program that prints `yes:` and `no:`, with a timer that counts instructions."""
    program.slow_uart = t.machine == "bochs"
    guest = program.assemble(t.directory, name)
    icount = t.machine == "qemu"  # Bochs' time is instructions anyway
    bare = t.bare(guest, icount=icount)
    # Where time goes on while exits are written down, more interrupts are due than there were.
    run = t.boot(commands(name, trace=int(icount)), modules=[module(guest)], elf=[guest], icount=icount, limits=FEW)
    if b"no: " in bare.console:
        raise Trouble(f"the bare machine says no: {bare.text()}")
    wrong = re.findall(rb"no: ([^\n]*)", life(run).output)
    t.check(not wrong, f"this does not hold under {t.lab.cpu}, and does on the bare machine: "
            + "; ".join(one.decode("latin-1") for one in wrong), bare.console, life(run).output)
    compare(t, bare, run, 0)
    t.orderly(run)


def refused(t):
    """Faults that Zeno raises: each frame."""
    run_both(t, exits.refused(t.rng))


def hundred(t):
    """100 of 100 interrupts: asleep, spinning, masked."""
    facts(t, waits.hundred(t.rng), "hundred")


def windows(t):
    """What waits comes as soon as it may."""
    facts(t, waits.windows(t.rng), "windows")


def shadows(t):
    """Nothing comes between sti and the end of the next instruction, and then it does."""
    facts(t, waits.shadows(t.rng), "shadows")


def timers(t):
    """Lab 1B's timers: computing, asleep, behind sti, in ring 3, nested; a gate that the CPU refuses."""
    facts(t, irqs.timers(t.rng), "timers")


STI_SHADOW, MOV_SS_SHADOW, SPECIAL, VMCB_RIP, VMCB_SHADOW, VMCB_INFO = headers.numbers(
    ("vmm/vcpu.h", "vmm/svm/vmcb.h"), (
        "offsetof(struct vcpu, state.sti_shadow)",
        "offsetof(struct vcpu, state.mov_ss_shadow)", "offsetof(struct vcpu, special)", "offsetof(struct vmcb, rip)",
        "offsetof(struct vmcb, interrupt_shadow)", "offsetof(struct vmcb, exitintinfo)"))
VCPU_RIP, VMCB_INJ, FAULT_KIND, SOFTWARE_KIND, INTERRUPT_KIND, NMI_KIND, INJECTED, REFUSED = headers.numbers(
    ("vmm/vcpu.h", "vmm/svm/vmcb.h", "vmm/event.h"), (
        "offsetof(struct vcpu, state.rip)", "offsetof(struct vmcb, eventinj)", "EVENT_FAULT", "EVENT_SOFTWARE",
        "EVENT_INTERRUPT", "EVENT_NMI", "INJECTED", "REFUSED"))
VCPU_SIZE, VCPU_EVENT, VMCB_VINTR, VMCB_INTERCEPTS, VINTR_INTERCEPT, V_TPR, V_IRQ, V_IGN_TPR, V_MASKING, NO_KIND = headers.numbers(
    ("vmm/vcpu.h", "vmm/svm/vmcb.h", "vmm/event.h"), (
        "sizeof(struct vcpu)", "offsetof(struct vcpu, state.event)", "offsetof(struct vmcb, vintr)",
        "offsetof(struct vmcb, intercepts)", "SVM_VINTR", "VINTR_TPR", "VINTR_IRQ", "VINTR_IGN_TPR", "VINTR_MASKING", "EVENT_NONE"))
KIND_NAMES = {NO_KIND: "none", FAULT_KIND: "EVENT_FAULT", SOFTWARE_KIND: "EVENT_SOFTWARE", INTERRUPT_KIND: "EVENT_INTERRUPT",
              NMI_KIND: "EVENT_NMI"}
VALID, HAS_ERROR = 1 << 31, 1 << 11
INTERRUPT, NMI, EXCEPTION, SOFTWARE = 0, 2, 3, 4
FRAME = re.compile(rb"^([0-9A-F]{8}) ([0-9A-F]{8}) ([0-9A-F]{8}) ", re.M)


def interrupted(rng):
    """What an exit may have interrupted, one of each kind and some more: (EXITINTINFO, vector, error; None: nothing)."""
    kinds = [(INTERRUPT, rng.randrange(0x30, 0x38), None), (NMI, 2, None), (EXCEPTION, 6, None), (SOFTWARE, 0x35, None),
             *((EXCEPTION, vector, rng.getrandbits(16)) for vector in rng.sample((10, 11, 12, 13), 3)),
             (INTERRUPT, rng.randrange(0x30, 0x38), None), (SOFTWARE, 0x36, None), (None, 0, None)]
    rng.shuffle(kinds)
    for kind, vector, error in kinds:
        if kind is None:  # not valid: whatever stands there was another exit's
            yield rng.getrandbits(64) & ~VALID, None, 0
            continue
        info = VALID | kind << 8 | vector
        if error is not None:
            info |= HAS_ERROR | error << 32
        yield info, vector if kind != SOFTWARE else None, error or 0


def shadow_kept(t):
    """The grader sets what holds interrupts back, in the state before entries and in the VMCB behind exits; and so that it is
    looked at, each entry is a special one."""
    program, _ = waits.targets(t.rng, 6)
    guest = program.assemble(t.directory, "shadow")
    now, wrong, counted = {}, [], [0, 0]

    def before(client, regs):  # of the two in the state one is enough
        now["vcpu"], now["out"] = regs["rdi"], (t.rng.randrange(2), t.rng.randrange(2))
        for at, value in zip((STI_SHADOW, MOV_SS_SHADOW), now["out"]):
            client.write(regs["rdi"] + at, bytes([value]))
        client.write(vmcb_of(client, regs["rdi"]) + VMCB_SHADOW, struct.pack("<Q", t.rng.randrange(2)))

    def enters(client, _regs):
        if "out" not in now:
            return False
        got, = struct.unpack("<Q", client.read(vmcb_of(client, now["vcpu"]) + VMCB_SHADOW, 8))
        counted[0] += 1
        if got & 1 != any(now["out"]):
            wrong.append(f"before an entry the state's two were {now['out']}, and the VMCB's is {got & 1}")
        return bool(wrong)

    def behind(client, regs):
        now["in"] = t.rng.randrange(2)
        client.write(vmcb_of(client, regs["rdi"]) + VMCB_SHADOW, struct.pack("<Q", now["in"]))

    def translates(client, regs):
        client.write(regs["rdi"] + SPECIAL, b"\1")
        if "in" not in now or "out" not in now:
            return False
        got = [client.read(regs["rdi"] + at, 1)[0] for at in (STI_SHADOW, MOV_SS_SHADOW)]
        counted[1] += 1
        if any(got) != bool(now["in"]):
            wrong.append(f"behind an exit the VMCB's was {now['in']}, and the state's two are {got}")
        return bool(wrong) or counted[1] >= 60

    run, _ = t.witness(commands("shadow"), {
        t.symbol("svm_sti_shadow_to_vmcb"): before, t.symbol("svm_enter"): enters, t.symbol("svm_state_from_vmcb"): behind,
        t.symbol("svm_translate"): translates}, modules=[module(guest)], elf=[guest], limits=LIMITS)
    if min(counted) < 60 and not wrong:
        never_there(t, run, "60 exits")
    t.check(not wrong, f"what holds interrupts back went astray: {wrong[:1]}", "the same on both sides", wrong)
    t.orderly(run)


def given(rng):
    """Events for svm_inject(): (in words, struct event, EVENTINJs that deliver it, bytes that rip moves, does another one wait).

    int3 and into are software interrupts for Zeno; the CPU delivers them as exceptions, too.
    """
    error = rng.getrandbits(16)
    ours = [("int n", SOFTWARE_KIND, (SOFTWARE,), rng.randrange(0x30, 0x38), None, 2),
            ("int3", SOFTWARE_KIND, (SOFTWARE, EXCEPTION), 3, None, 1), ("into", SOFTWARE_KIND, (SOFTWARE, EXCEPTION), 4, None, 1),
            ("int1", FAULT_KIND, (EXCEPTION,), 1, None, 1), ("an interrupt", INTERRUPT_KIND, (INTERRUPT,), 8, None, 0),
            ("an interrupt", INTERRUPT_KIND, (INTERRUPT,), 0x31, None, 0), ("an NMI", NMI_KIND, (NMI,), 2, None, 0),
            ("an exception", FAULT_KIND, (EXCEPTION,), 13, error, 0)]
    cases = [(one, False) for one in ours] + [(ours[0], True), (rng.choice(ours[1:]), True)]
    rng.shuffle(cases)
    for (words, kind, theirs, vector, code, length), waits in cases:
        rest = VALID | vector | (0 if code is None else HAS_ERROR | code << 32)
        yield (f"{words} with vector {vector:02x}", struct.pack("<4BI", kind, vector, code is not None, length, code or 0),
               [rest | one << 8 for one in theirs], length, waits)


def call(client, regs, function):
    """At some function's first instruction: call this one with the same registers. Those that it returns with, or None."""
    for name in (*GPRS, "eflags"):
        client.set_reg(name, regs[name])
    client.set_reg("rip", function)
    return client.regs() if to_return(client, regs) else None


def injects(t, client, regs):
    """At svm_inject(), once: the grader calls it with events of its own. What is wrong, or None."""
    vcpu = regs["rdi"]
    inj = vmcb_of(client, vcpu) + VMCB_INJ
    places = [(regs["rsi"], 8), (vcpu + VCPU_RIP, 8), (vcpu + STI_SHADOW, 1), (vcpu + MOV_SS_SHADOW, 1), (inj, 8)]
    for words, event, given_labels, length, is_waiting in given(t.rng):
        rip = t.rng.getrandbits(31)
        shadow = t.rng.choice(((1, 0), (0, 1), (1, 1)))
        waits = VALID | t.rng.randrange(32, 256) if is_waiting else 0
        for (at, _), value in zip(places, (event, struct.pack("<Q", rip), *(bytes([one]) for one in shadow),
                                           struct.pack("<Q", waits))):
            client.write(at, value)
        end = call(client, regs, regs["rip"])
        if not end:
            return f"svm_inject() does not come back from {words}", "a return", "none"
        answer, got_rip, got = end["rax"] & 0xFFFFFFFF, word(client, vcpu + VCPU_RIP), word(client, inj)
        held = [client.read(vcpu + at, 1)[0] for at in (STI_SHADOW, MOV_SS_SHADOW)]
        if waits:
            if answer != REFUSED or (got, got_rip, tuple(held)) != (waits, rip, shadow):
                return (f"an event waits for the entry, and svm_inject() gets {words}", f"REFUSED, EVENTINJ {waits:x}, nothing "
                        f"has changed: shadows {list(shadow)}", f"answer {answer}, EVENTINJ {got:x}, rip moved by {got_rip - rip}, "
                        f"shadows {held}")
        elif answer != INJECTED:
            return f"svm_inject() does not take {words}", "INJECTED", f"{answer}"
        elif got not in given_labels:
            return (f"the CPU would not deliver {words} as it is", f"EVENTINJ {' or '.join(f'{one:x}' for one in given_labels)}",
                    f"EVENTINJ {got:x}")
        elif got_rip != rip + length:
            return f"the handler of {words} returns to the wrong place", f"rip {rip + length:x}", f"rip {got_rip:x}"
        elif any(held):
            return f"{words} is delivered, and interrupts are still held back", "no shadow", f"{held}"
    return None


def opens(t, client, regs):
    """There, too: svm_window() for a guest with CR8 = 15, and what svm_take_back() leaves of it. What is wrong, or None."""
    vmcb = vmcb_of(client, regs["rdi"])
    had = V_MASKING | V_TPR
    client.write(vmcb + VMCB_VINTR, struct.pack("<Q", had))
    end = call(client, regs, t.symbol("svm_window"))
    got, hears = word(client, vmcb + VMCB_VINTR), word(client, vmcb + VMCB_INTERCEPTS) & 1 << VINTR_INTERCEPT
    if not end or not hears or not got & V_IRQ:
        return "behind svm_window() nobody hears that the guest takes interrupts", "V_IRQ, and VINTR intercepted", f"vintr {got:x}"
    if not got & V_IGN_TPR:  # no priority is above 15
        return "a guest with CR8 = 15 lets an interrupt in, and svm_window() does not see it", "V_IGN_TPR", f"vintr {got:x}"
    if got & had != had:
        return "svm_window() changes what it does not need: V_TPR, V_INTR_MASKING", f"{had:x}", f"vintr {got:x}"
    for info, kind in ((VALID | NMI << 8 | 2, NMI_KIND), (VALID | INTERRUPT << 8 | 2, INTERRUPT_KIND),
                       (VALID | EXCEPTION << 8 | 6, FAULT_KIND), (VALID | SOFTWARE << 8 | 0x35, NO_KIND)):
        client.write(regs["rdi"] + VCPU_EVENT, bytes(8))
        client.write(vmcb + VMCB_INFO, struct.pack("<Q", info))
        client.write(vmcb + VMCB_INJ, struct.pack("<Q", VALID | 0x31))
        if not call(client, regs, t.symbol("svm_take_back")):
            return f"svm_take_back() does not come back from {in_words(info)}", "a return", "none"
        of_kind, got, inj = client.read(regs["rdi"] + VCPU_EVENT, 1)[0], word(client, vmcb + VMCB_VINTR), word(client, vmcb + VMCB_INJ)
        if of_kind != kind:
            return (f"{in_words(info)} is another kind of event in the state, behind svm_take_back()", KIND_NAMES[kind],
                    KIND_NAMES.get(of_kind, of_kind))
        if got & (had | V_IRQ) != had or inj & VALID:
            return ("svm_take_back() leaves a window or an injection, or loses V_TPR", f"vintr {had:x}, EVENTINJ not valid",
                    f"vintr {got:x}, EVENTINJ {inj:x}")
    return None


def asked_alone(t, client, regs):
    """Both, and all is put back. What is wrong, or None."""
    vcpu = regs["rdi"]
    places = [(regs["rsi"], 8), (vcpu, VCPU_SIZE), (vmcb_of(client, vcpu), 4096)]
    before = [client.read(*place) for place in places]
    wrong = injects(t, client, regs) or opens(t, client, regs)
    for (at, _), value in zip(places, before):
        client.write(at, value)
    for name in (*GPRS, "rip", "eflags"):
        client.set_reg(name, regs[name])
    return wrong


def taken_back(t):
    """The grader writes into the VMCB, at chosen exits, what the CPU was delivering: the guest's frames tell the rest."""
    events = list(interrupted(t.rng))
    program, names = waits.targets(t.rng, len(events))
    guest = program.assemble(t.directory, "targets")
    places = dict(zip(labels(guest, *names), events))
    behind = dict(zip(places, labels(guest, *(f"behind{n}" for n in range(len(names))))))
    met, tried = [], []

    def tries(client, regs):
        if not tried:
            tried.append(asked_alone(t, client, regs))
        return bool(tried[0])

    def look(client, regs):
        """At a place of the guest's: what the exit that comes there was delivering."""
        place = regs["rip"]
        client.insert(exited)
        for _ in range(STOPS):  # a tick may come first
            client.cont()
            regs = client.regs()
            vmcb = vmcb_of(client, regs["rdi"]) if regs["rip"] == exited else 0
            if vmcb and word(client, vmcb + VMCB_RIP) == place and place not in met:
                client.write(vmcb + VMCB_INFO, struct.pack("<Q", places[place][0]))
                met.append(place)
                break
        client.remove(exited)
        return len(met) == len(places)

    exited = t.symbol("svm_state_from_vmcb")  # svm_take_back() is called behind it, where there is something to take back
    run, _ = t.witness(commands("targets"), dict.fromkeys(places, look) | {t.symbol("svm_inject"): tries},
                       modules=[module(guest)], elf=[guest], limits=FEW)
    if tried and tried[0]:
        t.fail(*tried[0])
    if len(met) < len(places):
        never_there(t, run, "the exits at which the grader looks")
    t.orderly(run)
    frames = [tuple(int(word, 16) for word in one) for one in FRAME.findall(life(run).output)]
    for place, (info, vector, error) in places.items():
        got = [frame for frame in frames if frame[2] == behind[place]]
        wanted = [] if vector is None else [(vector, error, behind[place])]
        what = f"an exit came while the CPU delivered {in_words(info)}"
        t.check(got == wanted, f"{what}; then its handler ran {len(got)} times behind that instruction, and should "
                f"{'not have' if vector is None else 'once'}; {said_of_end(run)}", shown(wanted), shown(got))
    if not tried:
        never_there(t, run, "svm_inject()")


def in_words(info):
    """EXITINTINFO."""
    if not info & VALID:
        return f"nothing (EXITINTINFO {info:x}, not valid)"
    kind = {INTERRUPT: "an interrupt", NMI: "an NMI", EXCEPTION: "an exception", SOFTWARE: "int n"}[info >> 8 & 7]
    return f"{kind}, vector {info & 255:02x}" + (f" with error code {info >> 32:x}" if info & HAS_ERROR else "")


def shown(frames):
    """Frames for a report."""
    return "\n".join(f"vector {v:02x} error {e:x} rip {at:08x}" for v, e, at in frames) or "none"
