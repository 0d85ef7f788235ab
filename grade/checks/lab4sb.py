"""Lab 4s, half B: what an exit means, interrupts, rules, and diagnosis.

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
    run = t.boot(commands(*names), modules=modules, elf=[honest], limits=FEW)
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


ENGINE_DATA, STI_SHADOW, MOV_SS_SHADOW, VMCB_RIP, VMCB_SHADOW, VMCB_INFO = headers.numbers(
    ("vmm/vcpu.h", "vmm/svm/vmcb.h"), (
        "offsetof(struct vcpu, engine_data)", "offsetof(struct vcpu, state.sti_shadow)",
        "offsetof(struct vcpu, state.mov_ss_shadow)", "offsetof(struct vmcb, rip)",
        "offsetof(struct vmcb, interrupt_shadow)", "offsetof(struct vmcb, exitintinfo)"))
VCPU_RIP, VMCB_INJ, FAULT_KIND, SOFTWARE_KIND, INTERRUPT_KIND, NMI_KIND, INJECTED = headers.numbers(
    ("vmm/vcpu.h", "vmm/svm/vmcb.h", "vmm/event.h"), (
        "offsetof(struct vcpu, state.rip)", "offsetof(struct vmcb, eventinj)", "EVENT_FAULT", "EVENT_SOFTWARE",
        "EVENT_INTERRUPT", "EVENT_NMI", "INJECTED"))
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


def vmcb_of(client, vcpu):
    """Where a vCPU's VMCB is."""
    svm, = struct.unpack("<Q", client.read(vcpu + ENGINE_DATA, 8))
    return struct.unpack("<Q", client.read(svm, 8))[0]


def shadow_kept(t):
    """The grader sets what holds interrupts back, in the state before entries and in the VMCB behind exits."""
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
        if "in" not in now:
            return False
        got = [client.read(regs["rdi"] + at, 1)[0] for at in (STI_SHADOW, MOV_SS_SHADOW)]
        counted[1] += 1
        if any(got) != bool(now["in"]):
            wrong.append(f"behind an exit the VMCB's was {now['in']}, and the state's two are {got}")
        return bool(wrong) or counted[1] >= 60

    run, _ = t.witness(commands("shadow"), {
        t.symbol("svm_sti_shadow_to_vmcb"): before, t.symbol("svm_enter"): enters, t.symbol("svm_take_back"): behind,
        t.symbol("svm_translate"): translates}, modules=[module(guest)], elf=[guest], limits=LIMITS)
    if min(counted) < 60 and not wrong:
        never_there(t, run, "60 exits")
    t.check(not wrong, f"what holds interrupts back went astray: {wrong[:1]}", "the same on both sides", wrong)
    t.orderly(run)


def given(rng):
    """Events for svm_inject(), in a random order: (in words, struct event, EVENTINJ that delivers it, bytes that rip moves)."""
    error = rng.getrandbits(16)
    ours = [("int n", SOFTWARE_KIND, SOFTWARE, rng.randrange(0x30, 0x38), None, 2), ("int3", SOFTWARE_KIND, SOFTWARE, 3, None, 1),
            ("an interrupt", INTERRUPT_KIND, INTERRUPT, 8, None, 0), ("an interrupt", INTERRUPT_KIND, INTERRUPT, 0x31, None, 0),
            ("an NMI", NMI_KIND, NMI, 2, None, 0), ("an exception", FAULT_KIND, EXCEPTION, 13, error, 0)]
    rng.shuffle(ours)
    for words, kind, theirs, vector, code, length in ours:
        label = VALID | theirs << 8 | vector | (0 if code is None else HAS_ERROR | code << 32)
        yield (f"{words} with vector {vector:02x}", struct.pack("<4BI", kind, vector, code is not None, length, code or 0), label,
               length)


def injects(t, client, regs):
    """At svm_inject(), once: the grader calls it with events of its own, and puts all back. What is wrong, or None."""
    vcpu, entry, wrong = regs["rdi"], regs["rip"], None
    inj, back = vmcb_of(client, vcpu) + VMCB_INJ, struct.unpack("<Q", client.read(regs["rsp"], 8))[0]
    places = [(regs["rsi"], 8), (vcpu + VCPU_RIP, 8), (vcpu + STI_SHADOW, 1), (vcpu + MOV_SS_SHADOW, 1), (inj, 8)]
    before = [client.read(*place) for place in places]
    for words, event, label, length in given(t.rng):
        rip = t.rng.getrandbits(31)
        shadow = t.rng.choice(((1, 0), (0, 1)))
        for (at, _), value in zip(places, (event, struct.pack("<Q", rip), *(bytes([one]) for one in shadow), bytes(8))):
            client.write(at, value)
        client.insert(back)
        client.cont()
        client.remove(back)
        end = client.regs()
        got_rip, = struct.unpack("<Q", client.read(vcpu + VCPU_RIP, 8))
        got, = struct.unpack("<Q", client.read(inj, 8))
        held = [client.read(vcpu + at, 1)[0] for at in (STI_SHADOW, MOV_SS_SHADOW)]
        if end["rip"] != back or end["rax"] & 0xFFFFFFFF != INJECTED:
            wrong = f"svm_inject() does not take {words}", "INJECTED", f"{end['rax'] & 0xFFFFFFFF}"
        elif got != label:
            wrong = f"the CPU would not deliver {words} as it is", f"EVENTINJ {label:x}", f"EVENTINJ {got:x}"
        elif got_rip != rip + length:
            wrong = f"the handler of {words} returns to the wrong place", f"rip {rip + length:x}", f"rip {got_rip:x}"
        elif any(held):
            wrong = f"{words} is delivered, and interrupts are still held back", "no shadow", f"{held}"
        if wrong:
            break
        for name in (*(f"r{n}" for n in range(8, 16)), "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "rip", "eflags"):
            client.set_reg(name, regs[name] if name != "rip" else entry)
    for (at, _), value in zip(places, before):
        client.write(at, value)
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
            tried.append(injects(t, client, regs))
        return bool(tried[0])

    def look(client, regs):
        vmcb = vmcb_of(client, regs["rdi"])
        rip, = struct.unpack("<Q", client.read(vmcb + VMCB_RIP, 8))
        if rip in places and rip not in met:
            client.write(vmcb + VMCB_INFO, struct.pack("<Q", places[rip][0]))
            met.append(rip)
        return len(met) == len(places)

    run, _ = t.witness(commands("targets"), {t.symbol("svm_take_back"): look, t.symbol("svm_inject"): tries},
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


# -- 4s.7: rules ------------------------------------------------------------------------------------


PAGE = 4096
FIELDS = ("efer", "cr0", "cr4", "cs.attr", "iopm_base", "msrpm_base", "eventinj")
AT = dict(zip(FIELDS, headers.numbers(("vmm/svm/vmcb.h",), [f"offsetof(struct vmcb, {name})" for name in FIELDS])))
VMCB_EXITCODE, = headers.numbers(("vmm/svm/vmcb.h",), ("offsetof(struct vmcb, exitcode)",))
CPU_EFER, CPU_BITS, CPU_LONG, OWN_RULES = headers.numbers(("vmm/svm/rules.h",), (
    "offsetof(struct svm_cpu, efer)", "offsetof(struct svm_cpu, phys_bits)", "offsetof(struct svm_cpu, has_long_mode)",
    "SVM_OWN_RULES"))
SIZES = {"cs.attr": "<H"}
RULES = ("CR0", "EFER", "CS", "the I/O map", "the MSR map", "EVENTINJ")
PE, NW, CD, PG = 1, 1 << 29, 1 << 30, 1 << 31
SVME, LME, LMA, PAE, L, D = 1 << 12, 1 << 8, 1 << 10, 1 << 5, 1 << 9, 1 << 10
FFXSR = 1 << 14
INVALID = 0xFFFFFFFF


class Cpu:
    """What the rules ask of a CPU: bits of EFER that it has, length of its addresses, long mode."""

    def __init__(self, efer, bits, has_long):
        self.efer, self.bits, self.has_long = efer, bits, has_long


def wrong_by_manual(b, cpu):
    """For each of the rules, whether these values break it: APM 2 15.5.1, 15.20."""
    efer, cr0, event = b["efer"], b["cr0"], b["eventinj"]
    kind, vector = event >> 8 & 7, event & 255
    paged = efer & LME and cr0 & PG
    return (bool(cr0 >> 32 or cr0 & (NW | CD) == NW or paged and not cr0 & PE),
            bool(not efer & SVME or efer & ~cpu.efer or efer & (LME | LMA) and not cpu.has_long),
            bool(paged and b["cr4"] & PAE and b["cs.attr"] & (L | D) == L | D),
            b["iopm_base"] // PAGE * PAGE + 3 * PAGE > 1 << cpu.bits,
            b["msrpm_base"] // PAGE * PAGE + 2 * PAGE > 1 << cpu.bits,
            bool(event & VALID and (kind in (1, 5, 6, 7) or kind == EXCEPTION and (vector == 2 or vector > 31))))


def sound(rng):
    """A structure that keeps all rules, in one of the modes that a guest has."""
    mode = rng.choice(((0, PE, 0, D), (0, PE | PG, 0, D), (0, PE | PG, PAE, 0), (LME | LMA, PE | PG, PAE, L),
                       (LME | LMA, PE | PG, PAE, D), (0, 0, 0, 0), (LME, PE, PAE, D)))
    return {"efer": SVME | mode[0], "cr0": 0x10 | mode[1], "cr4": mode[2], "cs.attr": 0x9B | mode[3],
            "iopm_base": rng.randrange(1, 1 << 14) * PAGE, "msrpm_base": rng.randrange(1, 1 << 14) * PAGE, "eventinj": 0}


def some_bits(rng, mask, most=3):
    """One to three of the mask's bits."""
    bits = [1 << n for n in range(64) if mask >> n & 1]
    return sum(rng.sample(bits, rng.randint(1, min(most, len(bits)))))


def any_event(rng):
    """An event of any form; not an exception 31, which QEMU 7.2 refuses."""
    event = rng.choice((VALID, VALID, VALID, 0)) | rng.randrange(8) << 8 | rng.choice((0, HAS_ERROR)) | rng.choice(
        (2, 8, 13, 30, 32, 33, rng.randrange(256))) | rng.getrandbits(32) << 32
    return event if event & 0x7FF != 0x31F else event & ~0x1F


def change(rng, b, which, cpu):
    """Draw anew what one of the rules looks at: about half of the values are wrong."""
    end = 1 << cpu.bits
    if which == 0:
        b["cr0"] ^= rng.choice((NW, CD, NW | CD, PE, some_bits(rng, 0xFFFFFFFF << 32), NW | PE, PG, PG | PE, 1 << 16))
    elif which == 1:
        b["efer"] ^= rng.choice((SVME, LME, LMA, LME | LMA, 1, 1 << 11, some_bits(rng, ~(FFXSR | SVME) & (1 << 64) - 1)))
    elif which == 2:
        b["efer"] ^= rng.choice((0, 0, 0, LME))
        b["cr0"] ^= rng.choice((0, 0, 0, PG))
        b["cr4"] |= rng.choice((0, PAE))
        b["cs.attr"] = b["cs.attr"] & ~(L | D) | rng.choice((L | D, L | D, L, D, 0))
    elif which in (3, 4):
        pages = 3 if which == 3 else 2
        b["iopm_base" if which == 3 else "msrpm_base"] = rng.choice((
            end - rng.randrange(1, 6) * PAGE, end - pages * PAGE, end - (pages - 1) * PAGE,
            some_bits(rng, (1 << 64) - end) | rng.randrange(1 << 20) * PAGE, rng.randrange(end // PAGE - 8) * PAGE)
            ) | rng.choice((0, rng.randrange(PAGE)))
    else:
        b["eventinj"] = any_event(rng)


def asked_of_cpu(b, cpu):
    """False: the CPU would refuse it for another rule, or QEMU 7.2 does otherwise than the manual.

    It would lose the host's CR0 at the exit, and refuses the last place that a map of two pages may have.
    """
    last = (1 << cpu.bits) // PAGE - 2
    return (b["cr4"] & PAE or not b["efer"] & LME) and b["msrpm_base"] // PAGE != last


def random_structure(rng, cpu, real=True):
    """One whose rules are each kept or broken, one or two of them drawn anew."""
    while True:
        b = sound(rng)
        for which in rng.sample(range(OWN_RULES), rng.choice((1, 1, 1, 2))):
            change(rng, b, which, cpu)
        if asked_of_cpu(b, cpu) or not real:
            return b


def shown_values(b):
    """The values in words."""
    return ", ".join(f"{name} {value:x}" for name, value in b.items())


def ask_rules(t, structures, cpus=None):
    """[(wrong by the student's rules, refused by the CPU)] of structures that the grader writes; cpus: made up."""
    program = exits.ports(t.rng).assemble(t.directory, "any")
    found, told, at = [], [], t.symbol("svm_cpu")

    def look(client, regs):
        if regs["rsi"] & 1:
            t.check(client.read(regs["rdi"], PAGE) == told[-1], "a rule of yours has written to the VMCB", "as it was", "changed")
            return False
        b = structures[len(found)]
        for name in FIELDS:
            client.write(regs["rdi"] + AT[name], struct.pack(SIZES.get(name, "<Q"), b[name]))
        if cpus:
            cpu = cpus[len(found)]
            client.write(at + CPU_EFER, struct.pack("<Q", cpu.efer))
            client.write(at + CPU_BITS, struct.pack("<I", cpu.bits))
            client.write(at + CPU_LONG, bytes([cpu.has_long]))
        told.append(client.read(regs["rdi"], PAGE))
        return False

    def verdict(client, regs):
        words = struct.unpack(f"<{OWN_RULES}Q", client.read(regs["rsi"], 8 * OWN_RULES))
        code, = struct.unpack("<I", client.read(regs["rdi"] + VMCB_EXITCODE, 4))
        found.append((tuple(map(bool, words)), code == INVALID))
        return len(found) == len(structures)

    run, _ = t.witness(f"trace=1 -- start any; vmcheck 1 {len(structures)}; off", {
        t.symbol("vmcheck_look"): look, t.symbol("vmcheck_verdict"): verdict},
        modules=[module(program)], elf=[program], limits=LIMITS)
    t.check(len(found) == len(structures), f"vmcheck came to {len(found)} of {len(structures)} structures",
            len(structures), len(found))
    t.orderly(run)
    return found


def real_cpu(t):
    """What the kernel has found of the emulator's CPU, by the grader's own look at the same CPU."""
    seen = []

    def look(client, _regs):
        data = client.read(t.symbol("svm_cpu"), 32)
        seen.append(Cpu(struct.unpack_from("<Q", data, CPU_EFER)[0], struct.unpack_from("<I", data, CPU_BITS)[0],
                        bool(data[CPU_LONG])))
        return True

    program = exits.ports(t.rng).assemble(t.directory, "look")
    t.witness("trace=1 -- start look; vmcheck 1 1; off", {t.symbol("vmcheck_look"): look}, modules=[module(program)],
              elf=[program], limits=LIMITS)
    t.check(seen, "vmcheck never began: no guest has got a VMCB", "a guest of svm", "none")
    return seen[0]


def compare_rules(t, structures, found, cpus, real):
    """Each rule against the manual, and all of them against the CPU."""
    for b, (mine, refused), cpu in zip(structures, found, cpus):
        right = wrong_by_manual(b, cpu)
        if real and any(right) != refused:
            raise Trouble(f"the manual and this CPU do not agree on {shown_values(b)}")
        cpu_says = ("the CPU refuses it" if refused else "the CPU takes it") if real else \
            f"a CPU with addresses of {cpu.bits} bits and EFER's bits {cpu.efer:x}, {'with' if cpu.has_long else 'without'} long mode"
        for name, says, holds in zip(RULES, mine, right):
            t.check(says == holds, f"your rule on {name} is too {'strict' if says else 'lax'}: {shown_values(b)} ({cpu_says})",
                    "wrong" if holds else "right", "wrong" if says else "right")


def rules_cpu(t):
    """200 random structures."""
    cpu = real_cpu(t)
    structures = [random_structure(t.rng, cpu) for _ in range(200)]
    compare_rules(t, structures, ask_rules(t, structures), [cpu] * 200, True)


def edges(cpu):
    """What is just right and just wrong: {field: value} over a sound structure."""
    end, long = 1 << cpu.bits, {"efer": SVME | LME | LMA, "cr0": 0x10 | PE | PG, "cr4": PAE, "cs.attr": 0x9B | L}
    for cr0 in (PE, PE | NW, PE | CD, PE | CD | NW, PE | 1 << 32, PE | 1 << 63, PG, 0xFFFFFFFF, 0):
        yield {"cr0": cr0}
    for cr0 in (PE | PG, PG, PG | CD, PG | CD | NW, PE, 0):
        yield long | {"cr0": cr0}
    for efer in (0, SVME, LME | LMA, SVME | LMA, SVME | 1, SVME | 2, SVME | 1 << 11, SVME | 1 << 16, SVME | 1 << 63, 1):
        yield {"efer": efer, "cr4": PAE}
    for attr in (0, L, D, L | D):
        yield long | {"cs.attr": 0x9B | attr}
        yield long | {"cs.attr": 0x9B | attr, "cr0": PE}
        yield {"cs.attr": 0x9B | attr, "cr4": PAE, "cr0": PE | PG}
        yield {"cs.attr": 0x9B | attr}
    for name, pages in (("iopm_base", 3), ("msrpm_base", 2)):
        for base in (0, end - pages * PAGE, end - pages * PAGE + 0xFFF, end - (pages - 1) * PAGE, end - PAGE, end - 1, end,
                     1 << 63, (1 << 64) - PAGE, (1 << 64) - pages * PAGE, (1 << 64) - 1):
            yield {name: base}
    for kind in range(8):
        for vector in (0, 2, 3, 30, 32, 33, 255):
            for valid in (0, VALID):
                for error in (0, HAS_ERROR):
                    yield {"eventinj": valid | kind << 8 | error | vector}


PLAIN = {"efer": SVME, "cr0": 0x10 | PE, "cr4": 0, "cs.attr": 0x9B | D, "iopm_base": 0x100000, "msrpm_base": 0x104000,
         "eventinj": 0}


def rules_edges(t):
    """The borders."""
    cpu = real_cpu(t)
    structures = [b for one in edges(cpu) if asked_of_cpu(b := PLAIN | one, cpu)]
    t.rng.shuffle(structures)
    compare_rules(t, structures, ask_rules(t, structures), [cpu] * len(structures), True)


def rules_other(t):
    """CPUs that are not there: the CPU's own verdict says nothing of them."""
    structures, cpus = [], []
    for _ in range(12):
        has_long = t.rng.random() < 0.6
        cpu = Cpu(SVME | some_bits(t.rng, 0xC801 | LME | LMA, 5) | (LME | LMA if has_long else 0),
                  t.rng.choice((32, 36, 39, 41, 48, 52)), has_long)
        for _ in range(12):
            structures.append(random_structure(t.rng, cpu, real=False))
            cpus.append(cpu)
    compare_rules(t, structures, ask_rules(t, structures, cpus), cpus, False)
