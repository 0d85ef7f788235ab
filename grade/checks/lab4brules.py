"""Lab 4B, exercise 4.7: the student's own rules of what a VM entry refuses.

Witnessed through Bochs' debugger: the command `vmcheck` asks the student's rules of a structure, and then the CPU. The
grader writes the structures and reads the student's verdicts from memory; the CPU's is what Bochs' log says of the entry.
"""

import re
import struct

from zeno.judging import headers

from .lab4sbrules import ask, compare, shown_values, some_bits

OWN = ("ENTRY_EVENT", "HOST_SYSENTER_ESP", "HOST_SYSENTER_EIP", "HOST_FS_BASE", "HOST_GS_BASE", "HOST_TR_BASE",
       "HOST_GDTR_BASE", "HOST_IDTR_BASE", "HOST_RIP", "GUEST_CR0", "GUEST_CR4", "GUEST_SYSENTER_ESP", "GUEST_SYSENTER_EIP",
       "GUEST_GDTR_BASE", "GUEST_IDTR_BASE", "GUEST_RIP", "GUEST_RFLAGS", "GUEST_TR_BASE", "GUEST_FS_BASE", "GUEST_GS_BASE",
       "GUEST_LDTR_BASE", "GUEST_CS_RIGHTS", "GUEST_SS_RIGHTS")
"""In vmx_rule()'s order."""
SEGMENTS = ("ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR")
PARTS = {"SELECTOR": "GUEST_ES", "BASE": "GUEST_ES_BASE", "LIMIT": "GUEST_ES_LIMIT", "RIGHTS": "GUEST_ES_RIGHTS"}
PLAIN_FIELDS = ("ENTRY_CONTROLS", "SECONDARY_CONTROLS", "GUEST_EFER", "ENTRY_EVENT", "HOST_SYSENTER_ESP", "HOST_SYSENTER_EIP",
                "HOST_FS_BASE", "HOST_GS_BASE", "HOST_TR_BASE", "HOST_GDTR_BASE", "HOST_IDTR_BASE", "HOST_RIP", "GUEST_CR0",
                "GUEST_CR4", "GUEST_SYSENTER_ESP", "GUEST_SYSENTER_EIP", "GUEST_GDTR_BASE", "GUEST_IDTR_BASE", "GUEST_RIP",
                "GUEST_RFLAGS")
AT = dict(zip(PLAIN_FIELDS, headers.numbers(("vmm/vmx/vmcs.h",), PLAIN_FIELDS)))
for _part, _first in zip(PARTS, headers.numbers(("vmm/vmx/vmcs.h",), PARTS.values())):
    AT |= {f"GUEST_{name}_{_part}": _first + 2 * n for n, name in enumerate(SEGMENTS)}
ADDRESSES = tuple(name for name in OWN if re.search("SYSENTER|BASE", name))
ANY_VALUE = tuple(name for name in ADDRESSES if not name.startswith("HOST")) + ("HOST_FS_BASE", "HOST_GS_BASE")
"""The host does without them: they may be given another value that is right."""
GROUP = 256
CPU = dict(zip(("cr0_must", "cr0_may", "cr4_must", "cr4_may", "linear_bits", "primary_may"), headers.numbers(
    ("vmm/vmx/rules.h",), [f"offsetof(struct vmx_cpu, {name})" for name in (
        "cr0_must", "cr0_may", "cr4_must", "cr4_may", "linear_bits", "primary.may")])))
WIDTHS = {"linear_bits": "<I", "primary_may": "<I"}
RULES = tuple({"ENTRY_EVENT": "the event", "GUEST_RFLAGS": "the flags"}.get(name, name.lower().replace("_", " ")) for name in OWN)

PE, NE, WP, NW, CD, PG = 1, 1 << 5, 1 << 16, 1 << 29, 1 << 30, 1 << 31
PAE, VMXE, PCIDE = 1 << 5, 1 << 13, 1 << 17
ONE, TF, IF, VM = 1 << 1, 1 << 8, 1 << 9, 1 << 17
FLAGS = 0x3D7FD5 & ~(IF | VM)
"""Those that may be 0 and 1, but for these two."""
LME, LMA = 1 << 8, 1 << 10
IA32E, UNRESTRICTED = 1 << 9, 1 << 7
S, P, L, D, G, UNUSABLE = 1 << 4, 1 << 7, 1 << 13, 1 << 14, 1 << 15, 1 << 16
VALID, HAS_ERROR = 1 << 31, 1 << 11
INTERRUPT, NMI, EXCEPTION, OTHER = 0, 2, 3, 7
WITH_ERROR = (8, 10, 11, 12, 13, 14, 17)
MONITOR_TRAP = 1 << 27
NO_VECTOR = 21
"""#CP, of which later manuals say something else."""


class Cpu:
    """What the rules ask of a CPU."""

    def __init__(self, **has):
        self.__dict__.update(has)

    def __str__(self):
        return f"a CPU whose CR0 has {self.cr0_must:x} to {self.cr0_may:x}, CR4 {self.cr4_must:x} to {self.cr4_may:x}, addresses " \
            f"of {self.linear_bits} bits, {'a' if self.primary_may & MONITOR_TRAP else 'no'} monitor trap flag"


# -- what the manual says ---------------------------------------------------------------------------


def dpl(rights):
    """Of access rights."""
    return rights >> 5 & 3


def flags_wrong(b, bochs):
    """SDM 3C 27.3.1.4. Bochs 2.7 takes virtual-8086 mode without PE."""
    flags, event = b["GUEST_RFLAGS"], b["ENTRY_EVENT"]
    interrupt = event & VALID and event >> 8 & 7 == INTERRUPT
    return bool(not flags & ONE or flags >> 22 or flags & 0x8028 or flags & VM and (
        b["long"] or not b["GUEST_CR0"] & PE and not bochs) or interrupt and not flags & IF)


def cs_wrong(b):
    """SDM 3C 27.3.1.2."""
    cs, ss = b["GUEST_CS_RIGHTS"], b["GUEST_SS_RIGHTS"]
    if b["GUEST_RFLAGS"] & VM:
        return False
    kind = cs & 15
    if kind == 3 and b["unrestricted"]:
        wrong = dpl(cs) != 0
    elif kind in (9, 11):
        wrong = dpl(cs) != dpl(ss)
    elif kind in (13, 15):
        wrong = dpl(cs) > dpl(ss)
    else:
        wrong = True
    return bool(wrong or b["long"] and cs & L and cs & D)


def ss_wrong(b):
    """SDM 3C 27.3.1.2."""
    ss = b["GUEST_SS_RIGHTS"]
    if b["GUEST_RFLAGS"] & VM:
        return False
    return bool(not ss & UNUSABLE and ss & 15 not in (3, 7)
                or not b["unrestricted"] and dpl(ss) != b["GUEST_SS_SELECTOR"] & 3
                or dpl(ss) and (b["GUEST_CS_RIGHTS"] & 15 == 3 or not b["GUEST_CR0"] & PE))


def cr0_wrong(b, cpu, bochs):
    """SDM 3C 27.3.1.1. Bochs 2.7 does not test that long mode has paging."""
    cr0, free = b["GUEST_CR0"], NW | CD | (PE | PG if b["unrestricted"] else 0)
    return bool((cpu.cr0_must & ~cr0 | cr0 & ~cpu.cr0_may) & ~free or cr0 & PG and not cr0 & PE
                or b["long"] and not cr0 & PG and not bochs)


def cr4_wrong(b, cpu):
    """SDM 3C 27.3.1.1."""
    cr4 = b["GUEST_CR4"]
    return bool(cpu.cr4_must & ~cr4 or cr4 & ~cpu.cr4_may or (b["long"] and not cr4 & PAE) or (cr4 & PCIDE and not b["long"]))


def same_from(value, bit):
    """All bits from this one on are equal."""
    return value >> bit in (0, (1 << 64 - bit) - 1)


def address_wrong(b, name, cpu, bochs):
    """SDM 3C 27.2.2, 27.2.3, 27.3.1. Bochs 2.7 takes any RIP of 64-bit code."""
    if name not in b:
        return False
    if name == "GUEST_RIP":
        if b["long"] and b["GUEST_CS_RIGHTS"] & L:
            return not same_from(b[name], cpu.linear_bits) and not bochs
        return b[name] >> 32 != 0
    if name == "GUEST_LDTR_BASE" and b["GUEST_LDTR_RIGHTS"] & UNUSABLE:
        return False
    return not same_from(b[name], cpu.linear_bits - 1)


def event_wrong(b, cpu):
    """SDM 3C 27.2.1.3."""
    event = b["ENTRY_EVENT"]
    kind, vector = event >> 8 & 7, event & 255
    real = b["unrestricted"] and not b["GUEST_CR0"] & PE
    pushes = kind == EXCEPTION and vector in WITH_ERROR and not real
    return bool(event & VALID and (
        event & 0x7FFFF000 or kind == 1 or kind == OTHER and not cpu.primary_may & MONITOR_TRAP or kind == NMI and vector != 2
        or kind == EXCEPTION and vector > 31 or kind == OTHER and vector or pushes != bool(event & HAS_ERROR)))


def wrong_by_manual(b, cpu, bochs=False):
    """For each of the rules, whether this breaks it."""
    found = {name: address_wrong(b, name, cpu, bochs) for name in (*ADDRESSES, "HOST_RIP", "GUEST_RIP")}
    found |= {"ENTRY_EVENT": event_wrong(b, cpu), "GUEST_CR0": cr0_wrong(b, cpu, bochs), "GUEST_CR4": cr4_wrong(b, cpu),
              "GUEST_RFLAGS": flags_wrong(b, bochs), "GUEST_CS_RIGHTS": cs_wrong(b), "GUEST_SS_RIGHTS": ss_wrong(b)}
    return tuple(found[name] for name in OWN)


# -- structures -------------------------------------------------------------------------------------


def plain(**more):
    """32-bit code in ring 0, without paging, in an unrestricted guest; the other fields are vmcheck's."""
    return {"long": False, "unrestricted": True, "GUEST_CR0": PE | NE, "GUEST_CR4": VMXE, "GUEST_RFLAGS": ONE, "ENTRY_EVENT": 0,
            "GUEST_CS_SELECTOR": 8, "GUEST_SS_SELECTOR": 16, "GUEST_CS_RIGHTS": G | D | P | S | 11,
            "GUEST_SS_RIGHTS": G | D | P | S | 3, "GUEST_LDTR_RIGHTS": UNUSABLE} | more


LONG = {"long": True, "GUEST_CR0": PE | NE | PG, "GUEST_CR4": VMXE | PAE, "GUEST_CS_RIGHTS": G | L | P | S | 11}
RESTRICTED = {"unrestricted": False, "GUEST_CR0": PE | NE | PG}
LDT = P | 2
MODES = ({}, {"GUEST_CR0": PE | NE | PG}, {"GUEST_CR0": NE}, {"GUEST_CR0": NE, "GUEST_CS_RIGHTS": G | P | S | 3},
         {"GUEST_CS_RIGHTS": G | P | S | 3}, {"GUEST_CS_RIGHTS": G | D | P | S | 15}, LONG, LONG,
         LONG | {"GUEST_CS_RIGHTS": G | D | P | S | 9}, LONG | {"unrestricted": False}, RESTRICTED, RESTRICTED,
         {"GUEST_LDTR_RIGHTS": LDT})


V86 = {f"GUEST_{name}_{part}": value for name in SEGMENTS[:6]
       for part, value in (("SELECTOR", 0x1000), ("BASE", 0x10000), ("LIMIT", 0xFFFF), ("RIGHTS", 0xF3))}


def in_v86(b):
    """The same in virtual-8086 mode, which has a segment's rights and limit fixed."""
    return b | V86 | {"GUEST_RFLAGS": b["GUEST_RFLAGS"] | VM}


def in_ring(b, ring, code=None):
    """Its stack is in this ring, and its code is or may be."""
    b["GUEST_SS_RIGHTS"] |= ring << 5
    if b["GUEST_CS_RIGHTS"] & 15 != 3:
        b["GUEST_CS_RIGHTS"] |= (ring if code is None else code) << 5
    return b


def settle(b):
    """What goes with the rest: Bochs 2.7 asks CS' selector what the manual asks SS' DPL."""
    ring = dpl(b["GUEST_SS_RIGHTS"])
    if not b["GUEST_RFLAGS"] & VM:
        b["GUEST_CS_SELECTOR"] = 8 | (ring if b["unrestricted"] else b["GUEST_SS_SELECTOR"] & 3)
    b["GUEST_EFER"] = LME | LMA if b["long"] else 0
    return b


def sound(rng):
    """A structure that keeps all rules, in one of the modes that a guest has."""
    b = plain(**rng.choice(MODES))
    if b["GUEST_CS_RIGHTS"] & 15 != 3 and b["GUEST_CR0"] & PE and rng.random() < 0.3:
        b = in_ring(b, 3)
        b["GUEST_SS_SELECTOR"] |= 3
    elif not b["long"] and b["unrestricted"] and b["GUEST_CR0"] & PE and rng.random() < 0.15:
        b = in_v86(b)
    b["GUEST_RFLAGS"] |= rng.choice((0, IF, some_bits(rng, FLAGS, 8)))
    if rng.random() < 0.3:
        b["ENTRY_EVENT"] = VALID | rng.choice((NMI << 8 | 2, EXCEPTION << 8 | 6, 4 << 8 | rng.randrange(256), 6 << 8 | 3, 5 << 8 | 1))
    return b


def bits_of_address(rng, cpu):
    """About half of them are canonical."""
    edge = cpu.linear_bits
    return rng.choice((0, 1 << edge - 1, 1 << edge, (1 << edge - 1) - 1, (1 << 64) - (1 << edge - 1), (1 << 64) - (1 << edge),
                       (1 << 64) - 1, some_bits(rng, (1 << 64) - (1 << edge - 1)), rng.getrandbits(edge - 1)))


def change_rights(rng, b):
    """CS or SS."""
    if rng.random() < 0.5:
        b["GUEST_CS_RIGHTS"] ^= rng.choice((rng.randrange(16), rng.randrange(4) << 5, L, D, L | D))
    else:
        b["GUEST_SS_RIGHTS"] ^= rng.choice((rng.randrange(16), rng.randrange(4) << 5, UNUSABLE, UNUSABLE | rng.randrange(16)))
        if rng.random() < 0.5:
            b["GUEST_SS_SELECTOR"] = 16 | dpl(b["GUEST_SS_RIGHTS"])


def change_control(rng, b):
    """CR0 or CR4."""
    if rng.random() < 0.5:
        b["GUEST_CR0"] ^= rng.choice((PE, PG, PE | PG, NE, WP, NW, CD, NW | CD, some_bits(rng, 0xFFFFFFFF << 32),
                                      some_bits(rng, 0xFFFFFFFF)))
    else:
        b["GUEST_CR4"] ^= rng.choice((PAE, PCIDE, VMXE, PCIDE | PAE, 1 << 4, 1 << 7, some_bits(rng, (1 << 64) - (1 << 23))))


def change_event(rng, b):
    """An event of any form."""
    vector = rng.choice((2, 3, 8, 13, 14, 17, 6, 30, 31, 32, rng.randrange(256)))
    b["ENTRY_EVENT"] = rng.choice((VALID, VALID, VALID, 0)) | rng.randrange(8) << 8 | rng.choice((0, HAS_ERROR)) | \
        rng.choice((0, 0, 0, some_bits(rng, 0x7FFFF000))) | (vector if vector != NO_VECTOR else 0)
    if b["ENTRY_EVENT"] >> 8 & 7 == OTHER and rng.random() < 0.5:
        b["ENTRY_EVENT"] &= ~0xFF


def change(rng, b, which, cpu):
    """Draw anew what one of the five looks at: about half of the values are wrong."""
    if which == 0:
        b["GUEST_RFLAGS"] ^= rng.choice((some_bits(rng, FLAGS, 8), ONE, IF, VM if b["long"] or not b["GUEST_CR0"] & PE else IF, 8,
                                         1 << 5, 1 << 15, 1 << 22, some_bits(rng, (1 << 64) - (1 << 22)), IF))
        if rng.random() < 0.3:
            b["ENTRY_EVENT"] = VALID | INTERRUPT << 8 | rng.randrange(256)
    elif which == 1:
        change_rights(rng, b)
    elif which == 2:
        change_control(rng, b)
    elif which == 3:
        name = rng.choice((*ADDRESSES, "GUEST_RIP", "GUEST_RIP", "GUEST_LDTR_BASE", "GUEST_LDTR_BASE", "HOST_RIP"))
        b[name] = bits_of_address(rng, cpu) if rng.random() < 0.8 or name != "GUEST_RIP" else rng.getrandbits(33)
        if name == "GUEST_LDTR_BASE":
            b["GUEST_LDTR_RIGHTS"] = rng.choice((LDT, UNUSABLE))
    else:
        change_event(rng, b)


def harmless(b, cpu):
    """False: the host would come back with another value of its own, or Bochs 2.7 would die of the event."""
    if any(name in b and name not in ANY_VALUE and not address_wrong(b, name, cpu, False)
           for name in (*ADDRESSES, "HOST_RIP")):
        return False
    return not b["ENTRY_EVENT"] & VALID or b["ENTRY_EVENT"] >> 8 & 7 != OTHER


def keeps_v86(b):
    """The segments are as virtual-8086 mode has them, if it is that: rules of Zeno's."""
    return not b["GUEST_RFLAGS"] & VM or all(b.get(name) == value for name, value in V86.items())


def asked_of_cpu(b, cpu):
    """False: the CPU would refuse it for a rule that is not the student's alone, or Bochs 2.7 takes what the manual refuses."""
    refused = any(wrong_by_manual(b, cpu, bochs=True)) or not keeps_v86(b)
    return harmless(b, cpu) and any(wrong_by_manual(b, cpu)) == refused


def random_structure(rng, cpu, real=True):
    """One whose rules are each kept or broken, one or two of the five drawn anew."""
    while True:
        b = sound(rng)
        for which in rng.sample(range(5), rng.choice((1, 1, 1, 2))):
            change(rng, b, which, cpu)
        settle(b)
        if asked_of_cpu(b, cpu) if real else all(name in ANY_VALUE for name in b if name.startswith("HOST")):
            return b


# -- the machine ------------------------------------------------------------------------------------


def put_word(client, at, old, new):
    """Only what changes, from its first byte to its last: each is a command of the debugger's."""
    changed = [n for n, (before, after) in enumerate(zip(old, new)) if before != after]
    if changed:
        client.write(at + changed[0], new[changed[0]:changed[-1] + 1])


def place(name):
    """Where the image has this field."""
    return 8 * ((AT[name] >> 10 & 31) * 32 + (AT[name] >> 1 & 31))


class Image:
    """The fields of one structure in memory, read by groups of 32."""

    def __init__(self, client, address):
        self.client, self.address, self.groups = client, address, {}

    def old(self, name):
        """The bytes of a field, as vmcheck has left them."""
        group, at = divmod(place(name), GROUP)
        if group not in self.groups:
            self.groups[group] = self.client.read(self.address + group * GROUP, GROUP)
        return self.groups[group][at:at + 8]

    def put(self, name, value):
        """Write a field."""
        put_word(self.client, self.address + place(name), self.old(name), struct.pack("<Q", value))

    def switch(self, name, bit, on):
        """One bit of a field."""
        now, = struct.unpack("<Q", self.old(name))
        self.put(name, now | bit if on else now & ~bit)


REFUSES = re.compile(rb"VMFAIL: (?!VMCS link pointer)|VMEXIT: Guest State Checks Failed")


def ask_rules(t, structures, cpus=None):
    """The verdicts on structures that the grader writes; cpus: made up."""
    at, machine, seen = t.symbol("vmx_cpu"), [], [0]

    def put(client, image, number):
        b, fields = structures[number], Image(client, image)
        fields.switch("ENTRY_CONTROLS", IA32E, b["long"])
        fields.switch("SECONDARY_CONTROLS", UNRESTRICTED, b["unrestricted"])
        for name in AT.keys() & b.keys():
            fields.put(name, b[name])
        if cpus and (not number or cpus[number] is not cpus[number - 1]):
            for name, offset in CPU.items():
                new = struct.pack(WIDTHS.get(name, "<Q"), getattr(cpus[number], name))
                put_word(client, at + offset, client.read(at + offset, len(new)), new)
        news(machine[0])

    def refused(_client, _image):
        return bool(REFUSES.search(news(machine[0])))

    def news(live):
        """What Bochs' log has since the last look."""
        live.pump(0)
        new, seen[0] = bytes(live.log.data[seen[0]:]), len(live.log.data)
        return new

    return ask(t, len(structures), put, refused, lambda image: (image + place("GUEST_CR0"), GROUP), len(OWN), keep=machine)


def real_cpu(t):
    """What the kernel has found of the emulator's CPU."""
    found = []

    def put(client, _image, _number):
        at = t.symbol("vmx_cpu")
        found.append(Cpu(**{name: struct.unpack(WIDTHS.get(name, "<Q"), client.read(at + offset, struct.calcsize(
            WIDTHS.get(name, "<Q"))))[0] for name, offset in CPU.items()}))

    ask(t, 1, put, lambda *_: False, lambda image: (image, 8), len(OWN))
    return found[0]


def compare_rules(t, structures, found, cpus, real):
    """Each rule against the manual, and all of them against the CPU."""
    for b, verdicts, cpu in zip(structures, found, cpus):
        compare(t, RULES, shown_values(b), verdicts, wrong_by_manual(b, cpu), str(cpu), real)


def rules_cpu(t):
    """200 random structures."""
    cpu = real_cpu(t)
    structures = [random_structure(t.rng, cpu) for _ in range(200)]
    compare_rules(t, structures, ask_rules(t, structures), [cpu] * 200, True)


def edges(cpu):
    """What is just right and just wrong."""
    flags = [ONE, 0, *(ONE | 1 << n for n in range(64) if n not in (1, 17)), ONE | FLAGS | IF]
    yield from (plain(GUEST_RFLAGS=one) for one in flags)
    yield from (plain(GUEST_RFLAGS=ONE | VM, **mode) for mode in (LONG, {"GUEST_CR0": NE}))
    yield in_v86(plain())
    for flag in (0, IF):
        for kind in (INTERRUPT, NMI, 4):
            for valid in (0, VALID):
                yield plain(GUEST_RFLAGS=ONE | flag, ENTRY_EVENT=valid | kind << 8 | 2)
    for mode in ({}, RESTRICTED, LONG):
        for kind in range(16):
            yield plain(**mode | {"GUEST_CS_RIGHTS": mode.get("GUEST_CS_RIGHTS", G | D | P | S) & ~15 | kind})
            yield plain(**mode | {"GUEST_SS_RIGHTS": G | D | P | S | kind})
        for kind in (0, 2, 3, 11):
            yield plain(**mode | {"GUEST_SS_RIGHTS": UNUSABLE | kind})
    for kind in (3, 11, 15):
        for code in (0, 3):
            for ring in (0, 1, 3):
                b = plain(GUEST_CS_RIGHTS=G | D | P | S | kind | code << 5, GUEST_SS_RIGHTS=G | D | P | S | 3 | ring << 5)
                yield b
                yield b | RESTRICTED | {"GUEST_SS_SELECTOR": 16 | ring}
                yield b | RESTRICTED | {"GUEST_SS_SELECTOR": 16 | ring ^ 1}
                yield b | RESTRICTED | {"GUEST_SS_SELECTOR": 16 | ring ^ 1, "GUEST_SS_RIGHTS": UNUSABLE | ring << 5}
                yield b | {"GUEST_CR0": NE}
    for size in (0, L, D, L | D):
        yield plain(**LONG | {"GUEST_CS_RIGHTS": G | P | S | 11 | size})
        yield plain(GUEST_CS_RIGHTS=G | P | S | 11 | size)
    yield from control_edges()
    yield from address_edges(cpu)
    for mode in ({}, {"GUEST_CR0": NE}):
        for kind in range(8):
            for vector in (2, 8, 14, 31, 32):
                for error in (0, HAS_ERROR):
                    yield plain(**mode, GUEST_RFLAGS=ONE | IF, ENTRY_EVENT=VALID | kind << 8 | error | vector)
    for n in range(12, 31):
        yield plain(ENTRY_EVENT=VALID | NMI << 8 | 2 | 1 << n)
    yield plain(ENTRY_EVENT=0x7FFFFFFF)


def control_edges():
    """CR0 and CR4."""
    for mode in ({}, RESTRICTED, LONG, LONG | {"unrestricted": False}):
        b = plain(**mode)
        for bits in (0, PE, PG, PE | PG, NE, NW, CD, WP, 1 << 3, 1 << 6, 1 << 32, 1 << 63):
            yield b | {"GUEST_CR0": b["GUEST_CR0"] ^ bits}
        for bits in (PAE, PCIDE, PAE | PCIDE, VMXE, 1, 1 << 7, 1 << 15, 1 << 32, 1 << 63):
            yield b | {"GUEST_CR4": b["GUEST_CR4"] ^ bits}


def address_edges(cpu):
    """Canonical and not, with all that it depends on."""
    edge = cpu.linear_bits
    values = (0, (1 << edge - 1) - 1, 1 << edge - 1, 1 << edge, 1 << 63, (1 << 64) - (1 << edge - 1),
              (1 << 64) - (1 << edge - 1) - 1)
    for name in (*ADDRESSES, "HOST_RIP"):
        for value in values:
            yield plain(**{name: value})
            if name == "GUEST_LDTR_BASE":
                yield plain(**{name: value, "GUEST_LDTR_RIGHTS": LDT})
    for mode in ({}, LONG, LONG | {"GUEST_CS_RIGHTS": G | D | P | S | 11}, {"GUEST_CS_RIGHTS": G | L | P | S | 11}):
        for value in (0xFFFFFFFF, 1 << 32, *values):
            yield plain(**mode | {"GUEST_RIP": value})


def rules_edges(t):
    """The borders."""
    cpu = real_cpu(t)
    structures = [b for b in map(settle, edges(cpu)) if asked_of_cpu(b, cpu)]
    t.rng.shuffle(structures)
    compare_rules(t, structures, ask_rules(t, structures), [cpu] * len(structures), True)


def other_cpu(rng, bits):
    """A CPU that is not there. The host's own addresses are of 48 bits, and right on it, too."""
    must, may = some_bits(rng, 0x1E0C8, 4), some_bits(rng, 0xFFFE1E00, 8)
    return Cpu(cr0_must=PE | NE | PG | rng.choice((0, WP, 1 << 18, NW)), cr0_may=0xFFFFFFFF & ~some_bits(rng, 0x5FF8FFC0, 4),
               cr4_must=VMXE | must & 0xC0, cr4_may=VMXE | PAE | PCIDE | must | may & ~some_bits(rng, 0x1E00),
               linear_bits=bits, primary_may=0xFFFFFFFF & ~rng.choice((0, MONITOR_TRAP)))


def borders(rng, cpu):
    """What this CPU alone decides, just right and just wrong."""
    edge, name = cpu.linear_bits, rng.choice(ANY_VALUE)
    for value in ((1 << edge - 1) - 1, 1 << edge - 1, (1 << 64) - (1 << edge - 1)):
        yield plain(**{name: value, "GUEST_LDTR_RIGHTS": LDT})
    yield plain(**LONG | {"GUEST_CR4": VMXE | PAE | cpu.cr4_must, "GUEST_RIP": 1 << edge - rng.choice((0, 1))})
    for bits in (0, NW, CD, some_bits(rng, cpu.cr0_must, 1), some_bits(rng, 0xFFFFFFFF & ~cpu.cr0_may, 1)):
        yield plain(GUEST_CR0=(cpu.cr0_must & ~PG | PE) ^ bits)
    for bits in (0, some_bits(rng, cpu.cr4_must, 1), some_bits(rng, 0xFFFFFFFF & ~cpu.cr4_may, 1)):
        yield plain(GUEST_CR4=cpu.cr4_must ^ bits)
    yield plain(ENTRY_EVENT=VALID | OTHER << 8)


def rules_other(t):
    """CPUs that are not there: the CPU's own verdict says nothing of them."""
    structures, cpus = [], []
    for bits in t.rng.sample((48, 48, 49, 50, 52, 55, 57, 57), 8):
        cpu = other_cpu(t.rng, bits)
        some = [settle(b) for b in borders(t.rng, cpu)] + [random_structure(t.rng, cpu, real=False) for _ in range(8)]
        structures += some
        cpus += [cpu] * len(some)
    compare_rules(t, structures, ask_rules(t, structures, cpus), cpus, False)
