"""Lab 4B, exercise 4.7: structures that keep the rules or break them, by chance and at the borders, and CPUs that are not there."""

from .lab4bmanual import (ADDRESSES, ANY_VALUE, CD, CET, D, EXCEPTION, FLAGS, G, HAS_ERROR, IF, INTERRUPT, L, LMA, LME,
                          MONITOR_TRAP, NE, NMI, NO_VECTOR, NW, ONE, OTHER, P, PAE, PCIDE, PE, PG, S, SEGMENTS, UNUSABLE,
                          VALID, VM, VMXE, WITH_ERROR, WP, Cpu, address_wrong, dpl, wrong_by_manual)
from .lab4sbrules import some_bits


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
    """False: the CPU would refuse it for a rule that is not the student's alone, or Bochs 2.7 takes what the manual refuses.

    Of IA-32e mode without CR0.PE Zeno does not ask (trials/vmx/copy.c): Bochs 2.7 would take it, and die.
    """
    if b["long"] and not b["GUEST_CR0"] & PE:
        return False
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


def other_cpu(rng, bits):
    """A CPU that is not there. The host's own addresses are of 48 bits, and right on it, too."""
    must, may = some_bits(rng, 0x1E0C8, 4), some_bits(rng, 0xFFFE1E00, 8)
    return Cpu(cr0_must=PE | NE | PG | rng.choice((0, WP, 1 << 18, NW)), cr0_may=0xFFFFFFFF & ~some_bits(rng, 0x5FF8FFC0, 4),
               cr4_must=VMXE | must & 0xC0, cr4_may=VMXE | PAE | PCIDE | must | may & ~some_bits(rng, 0x1E00) | rng.choice((0, CET)),
               linear_bits=bits, primary_may=0xFFFFFFFF & ~rng.choice((0, MONITOR_TRAP)), any_error_code=bool(rng.randrange(2)))


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
    for protection in (0, WP):
        yield plain(GUEST_CR0=cpu.cr0_must & ~PG | PE | protection, GUEST_CR4=cpu.cr4_must | CET)
    for mode in ({}, {"GUEST_CR0": NE}):
        for vector in (rng.choice(WITH_ERROR), 6):
            for error in (0, HAS_ERROR):
                yield plain(**mode, ENTRY_EVENT=VALID | EXCEPTION << 8 | error | vector)
    yield plain(ENTRY_EVENT=VALID | OTHER << 8)
