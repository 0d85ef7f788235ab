"""Lab 4B, exercise 4.7: what the manual says of a structure, for each of the student's rules; and what Bochs 2.7 says instead."""

import re

from zeno.judging import headers

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
PE, NE, WP, NW, CD, PG = 1, 1 << 5, 1 << 16, 1 << 29, 1 << 30, 1 << 31
PAE, VMXE, PCIDE, CET = 1 << 5, 1 << 13, 1 << 17, 1 << 23
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
            f"of {self.linear_bits} bits, {'a' if self.primary_may & MONITOR_TRAP else 'no'} monitor trap flag, " \
            f"IA32_VMX_BASIC[56] {int(self.any_error_code)}"


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
    return bool(cpu.cr4_must & ~cr4 or cr4 & ~cpu.cr4_may or (b["long"] and not cr4 & PAE) or (cr4 & PCIDE and not b["long"])
                or cr4 & CET and not b["GUEST_CR0"] & WP)


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
    may_push = kind == EXCEPTION and not (b["unrestricted"] and not b["GUEST_CR0"] & PE)
    pushes, has_code = may_push and vector in WITH_ERROR, bool(event & HAS_ERROR)
    return bool(event & VALID and (
        event & 0x7FFFF000 or kind == 1 or kind == OTHER and not cpu.primary_may & MONITOR_TRAP or kind == NMI and vector != 2
        or kind == EXCEPTION and vector > 31 or kind == OTHER and vector
        or pushes != has_code and not (may_push and cpu.any_error_code)))


def wrong_by_manual(b, cpu, bochs=False):
    """For each of the rules, whether this breaks it."""
    found = {name: address_wrong(b, name, cpu, bochs) for name in (*ADDRESSES, "HOST_RIP", "GUEST_RIP")}
    found |= {"ENTRY_EVENT": event_wrong(b, cpu), "GUEST_CR0": cr0_wrong(b, cpu, bochs), "GUEST_CR4": cr4_wrong(b, cpu),
              "GUEST_RFLAGS": flags_wrong(b, bochs), "GUEST_CS_RIGHTS": cs_wrong(b), "GUEST_SS_RIGHTS": ss_wrong(b)}
    return tuple(found[name] for name in OWN)
