"""Lab 4B, exercise 4.7: the student's own rules of what a VM entry refuses.

Witnessed through Bochs' debugger: the command `vmcheck` asks the student's rules of a structure, and then the CPU. The
grader writes the structures and reads the student's verdicts from memory; the CPU's is what Bochs' log says of the entry.
"""

import re
import struct

from zeno.judging import headers

from .lab4bmanual import AT, IA32E, OWN, UNRESTRICTED, Cpu, wrong_by_manual
from .lab4bstructures import asked_of_cpu, borders, edges, other_cpu, random_structure, settle
from .lab4sbrules import ask, compare, shown_values

GROUP = 256
CPU = dict(zip(("cr0_must", "cr0_may", "cr4_must", "cr4_may", "linear_bits", "primary_may", "any_error_code"), headers.numbers(
    ("vmm/vmx/rules.h",), [f"offsetof(struct vmx_cpu, {name})" for name in (
        "cr0_must", "cr0_may", "cr4_must", "cr4_may", "linear_bits", "primary.may", "any_error_code")])))
WIDTHS = {"linear_bits": "<I", "primary_may": "<I", "any_error_code": "<?"}
RULES = tuple({"ENTRY_EVENT": "the event", "GUEST_RFLAGS": "the flags"}.get(name, name.lower().replace("_", " ")) for name in OWN)


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
        if not number:
            client.pages = {}  # the image and vmx_cpu are Zeno's own, which stay where they are
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


def rules_edges(t):
    """The borders."""
    cpu = real_cpu(t)
    structures = [b for b in map(settle, edges(cpu)) if asked_of_cpu(b, cpu)]
    t.rng.shuffle(structures)
    compare_rules(t, structures, ask_rules(t, structures), [cpu] * len(structures), True)


def rules_other(t):
    """CPUs that are not there: the CPU's own verdict says nothing of them."""
    structures, cpus = [], []
    for bits in t.rng.sample((48, 48, 49, 50, 52, 55, 57, 57), 8):
        cpu = other_cpu(t.rng, bits)
        some = [settle(b) for b in borders(t.rng, cpu)] + [random_structure(t.rng, cpu, real=False) for _ in range(8)]
        structures += some
        cpus += [cpu] * len(some)
    compare_rules(t, structures, ask_rules(t, structures, cpus), cpus, False)
