"""Lab 4sB, exercise 4s.7: the student's own rules of what VMRUN refuses.

Witnessed through QEMU's GDB stub: the command `vmcheck` asks the student's rules of a structure, and then the CPU. The grader
writes the structures, and reads both verdicts from memory.
"""

import struct

from zeno.guests import exits
from zeno.judging import headers
from zeno.judging.trial import Trouble

from .guests import LIMITS, module
from .lab4sb import EXCEPTION, HAS_ERROR, VALID

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
CODE = 1 << 3
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
        b["cs.attr"] = b["cs.attr"] & ~(L | D | rng.choice((0, 0, CODE))) | rng.choice((L | D, L | D, L, D, 0))
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


def ask(t, count, put, refused, kept, rules, keep=None):
    """[(wrong by the student's rules, refused by the CPU)] of structures: put(client, address, number) writes one.

    kept(address) is the part of it, an address and a length, that is to be the same behind the rules.
    """
    program = exits.ports(t.rng).assemble(t.directory, "any")
    found, told = [], []

    def look(client, regs):
        if regs["rsi"] & 1:
            t.check(client.read(*kept(regs["rdi"])) == told[-1], "a rule of yours has written to what it is to look at",
                    "as it was", "changed")
            return False
        put(client, regs["rdi"], len(found))
        told.append(client.read(*kept(regs["rdi"])))
        return False

    def verdict(client, regs):
        words = struct.unpack(f"<{rules}Q", client.read(regs["rsi"], 8 * rules))
        found.append((tuple(map(bool, words)), refused(client, regs["rdi"])))
        return len(found) == count

    run, _ = t.witness(f"trace=1 -- start any; vmcheck 0 {count}; off", {
        t.symbol("vmcheck_look"): look, t.symbol("vmcheck_verdict"): verdict},
        modules=[module(program)], elf=[program], limits=LIMITS, keep=keep)
    t.check(len(found) == count, f"vmcheck came to {len(found)} of {count} structures", count, len(found))
    t.orderly(run)
    return found


def ask_rules(t, structures, cpus=None):
    """The verdicts on structures that the grader writes; cpus: made up."""
    at = t.symbol("svm_cpu")

    def put(client, vmcb, number):
        for name in FIELDS:
            client.write(vmcb + AT[name], struct.pack(SIZES.get(name, "<Q"), structures[number][name]))
        if cpus:
            cpu = cpus[number]
            client.write(at + CPU_EFER, struct.pack("<Q", cpu.efer))
            client.write(at + CPU_BITS, struct.pack("<I", cpu.bits))
            client.write(at + CPU_LONG, bytes([cpu.has_long]))

    def refused(client, vmcb):
        return struct.unpack("<I", client.read(vmcb + VMCB_EXITCODE, 4))[0] == INVALID

    return ask(t, len(structures), put, refused, lambda vmcb: (vmcb, PAGE), OWN_RULES)


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


def compare(t, names, shown, verdicts, right, cpu_says, real):
    """Each rule against the manual, and all of them against the CPU, where it has been asked."""
    mine, refused = verdicts
    if real and any(right) != refused:
        raise Trouble(f"the manual and this CPU do not agree on {shown}")
    if real:
        others = [name for name, holds in zip(names, right) if holds]
        cpu_says = f"the CPU refuses it, for {' and '.join(others)}" if refused else "the CPU takes it"
    for name, says, holds in zip(names, mine, right):
        t.check(says == holds, f"your rule on {name} is too {'strict' if says else 'lax'}: {shown} ({cpu_says})",
                "wrong" if holds else "right", "wrong" if says else "right")


def compare_rules(t, structures, found, cpus, real):
    """All of them."""
    for b, verdicts, cpu in zip(structures, found, cpus):
        says = f"a CPU with addresses of {cpu.bits} bits and EFER's bits {cpu.efer:x}, " \
            f"{'with' if cpu.has_long else 'without'} long mode"
        compare(t, RULES, shown_values(b), verdicts, wrong_by_manual(b, cpu), says, real)


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
        yield long | {"cs.attr": 0x93 | attr}
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
        cpu = Cpu(SVME | some_bits(t.rng, 0xC801, 4) | (LME | LMA if has_long else 0),
                  t.rng.choice((32, 36, 39, 41, 48, 52)), has_long)
        for _ in range(12):
            structures.append(random_structure(t.rng, cpu, real=False))
            cpus.append(cpu)
    compare_rules(t, structures, ask_rules(t, structures, cpus), cpus, False)
