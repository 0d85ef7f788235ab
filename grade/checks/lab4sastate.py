"""Lab 4sA, exercise 4s.3: the guest's state on its way into the VMCB and back.

Witnessed through QEMU's GDB stub: the command `first N state` moves a vCPU's state through the student's functions. At
each call the grader puts random values on both sides, marks groups as it likes, and reads what has become of them from
memory; at the guest's first instruction it asks the emulator for what the CPU has.
"""

import re
import struct

from zeno.judging import headers
from zeno.judging.trial import Trouble

from . import states
from .lab4 import CODE_AT
from .lab4sa import canonical, no_ticks, vmcb_of
from .states import CODE, DATA, MSR, PRESENT, SEG, SEGMENTS, USABLE, VCPU_STATE, Kind

VMCB_SIZE, VMCB_DR7, VMCB_CPL, STATE_SS = headers.numbers(("vmm/svm/vmcb.h",), (
    "sizeof(struct vmcb)", "offsetof(struct vmcb, dr7)", "offsetof(struct vmcb, cpl)",
    "offsetof(struct cpu_state, seg[SEG_SS].attr)"))
SVME, NXE, LME, SCE, PAE, VM = 1 << 12, 1 << 11, 1 << 8, 1, 1 << 5, 1 << 17
FIELDS = states.fields_of([("rax", 0, 8)])
PLACES = dict(zip(FIELDS, headers.numbers(("vmm/svm/vmcb.h",), [f"offsetof(struct vmcb, {name})" for name in FIELDS])))
"""Where a field is in the VMCB, as wide as in the state."""
MSRS = [name for name, (group, _, _) in FIELDS.items() if group == MSR]


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
    elif kind.v86:
        found["ss.sel"] = found["ss.sel"] & ~3 | rng.randrange(3)
        found["cs.sel"] = found["cs.sel"] & ~3 | rng.randrange(3)
        found["cs.attr"] = DATA | PRESENT | USABLE | 3 << 5  # 32 bits: the guest is not made for 16
    else:
        found["cs.sel"] = found["cs.sel"] & ~3 | kind.ring
        found["ss.sel"] = found["ss.sel"] & ~3 | kind.ring
    found["ldtr.attr"], found["tr.attr"] = PRESENT | 2, PRESENT | 0xB
    return found


def hides_lme(state):
    """Zeno keeps LME from the CPU while PAE is 0: see efer_out()."""
    return bool(state["efer"] & LME and not state["cr4"] & PAE)


SEGMENT_LINE = re.compile(r"^(ES|CS|SS|DS|FS|GS|LDT|TR) *=([0-9a-f]{4}) ([0-9a-f]+) ([0-9a-f]{8}) ([0-9a-f]{8})", re.M)
TABLE_LINE = re.compile(r"^(GDT|IDT)= +([0-9a-f]+) ([0-9a-f]+)", re.M)
NUMBER = re.compile(r"\b(CR[0234]|DR[0-7]|EFER)=([0-9a-f]+)")


class Rounds(states.Rounds):
    """A boot of `first N state`."""

    FIELDS = FIELDS
    KINDS = [Kind(0, real=True), Kind(0, half_long=True), Kind(3, conforming=True), Kind(3), Kind(3, v86=True)]
    COMMAND = "first {} state"
    FUNCTIONS = ("svm_state_to_vmcb", "svm_state_from_vmcb", "svm_fetch")
    ALWAYS = ("rax", "rsp", "rip", "rflags")

    def a_state(self, kind, code_base):
        """Without paging."""
        rng = self.rng
        found = segments(rng, kind, code_base)
        found |= {"rax": rng.getrandbits(32), "rsp": rng.getrandbits(32), "rip": (CODE_AT - code_base) & 0xFFFFFFFF,
                  "rflags": rng.getrandbits(22) & 0x243ED5 | 2 | VM * kind.v86}
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
                  "dr6": 0xFFFF0FF0 | rng.getrandbits(4) | rng.getrandbits(3) << 13,
                  "dr7": 0x400 | rng.getrandbits(16) << 16}
        return found

    def for_cpu(self, state, name):
        return state[name] if name != "efer" else state["efer"] & ~(LME * hides_lme(state)) | SVME

    def read_hardware(self, client, vcpu):
        raw = client.read(vmcb_of(client, vcpu), VMCB_SIZE)
        found = {name: int.from_bytes(raw[at:at + FIELDS[name][2]], "little") for name, at in PLACES.items()}
        return found | {"cpl": raw[VMCB_CPL]}

    def write_hardware(self, client, vcpu, values, changed, ring):
        vmcb = vmcb_of(client, vcpu)
        raw = bytearray(client.read(vmcb, VMCB_SIZE))
        for name, at in PLACES.items():
            size = FIELDS[name][2]
            raw[at:at + size] = (values[name] | SVME * (name == "efer")).to_bytes(size, "little")
        raw[VMCB_CPL] = ring
        client.write(vmcb, bytes(raw))

    def cpu_has(self, client):
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

    def besides(self, one):
        got, state = one.out["cpl"], one.state
        self.t.check(got == one.kind.ring, f"the guest would go on in ring {got}: its CS is {state['cs.sel']:04x} with attributes "
                     f"{state['cs.attr']:x}, its SS {state['ss.sel']:04x} with {state['ss.attr']:x}, CR0 {state['cr0']:x}",
                     f"ring {one.kind.ring}", f"ring {got}")

    def once_more(self, client, one, vcpu, call):
        """Whoever asks for one group leaves the state's segments as they were long ago, and the ring that they say."""
        if one.dirty & SEG or not one.dirty:
            return
        at = vcpu + VCPU_STATE + STATE_SS
        attr = client.read(at, 2)
        client.write(at, struct.pack("<H", struct.unpack("<H", attr)[0] ^ 3 << 5))
        got = call() and self.read_hardware(client, vcpu)["cpl"]
        client.write(at, attr)
        self.t.check(got == one.out["cpl"], "nobody had changed the guest's segments, and its ring was written over: what the "
                     "state has of it may be old", one.out["cpl"], got)

    def ready(self, client):
        no_ticks(client)

    def no_lme_alone(self, one):
        """End the run before a VMRUN that would take the host's paging away: nothing that comes behind it says why."""
        efer, cr4 = one.out["efer"], one.out["cr4"]
        if efer & LME and not cr4 & PAE:
            self.live[0].stop()
            self.t.fail("the CPU would get LME in EFER while PAE in CR4 is 0, which is the host's end on this CPU",
                        "see efer_out()", f"EFER {efer:x}, CR4 {cr4:x}")

    def enter(self, client, one, vcpu):
        self.no_lme_alone(one)
        # Armed breakpoints would stop the emulator, whose VMRUN does not arm them.
        client.write(vmcb_of(client, vcpu) + VMCB_DR7, struct.pack("<Q", one.out["dr7"] & ~0xFF))
        client.insert(CODE_AT)
        client.cont()
        client.remove(CODE_AT)
        regs = client.regs()
        if regs["rip"] == self.t.symbol("svm_state_from_vmcb"):
            return self.behind(client, regs)
        if regs["rip"] & 0xFFFFFFFF == one.state["rip"]:  # the stub's rip does not have the segment's base in it
            one.in_guest = self.cpu_has(client)
        return False

    def before_ask(self, client, one, vcpu):
        has = self.cpu_has(client)
        one.held, one.dr6 = tuple(has[f"dr{n}"][0] for n in range(4)), one.later["dr6"]

    def seen(self, one, name):
        return one.later[name] | (LME * hides_lme(one.state) if name == "efer" else 0)

    def why(self, one, name, got):
        if name != "efer":
            return ""
        return ": the guest sees that it is one" if got & SVME else ": its LME is only kept from the CPU"

    def why_in(self, name, got):
        return ", and the CPU takes no VMCB without AMD-V's own bit in it" if name == "efer" and not got & SVME else ""


# -- the tests ---------------------------------------------------------------------------------------


def state_in(t):
    """All groups are new: the VMCB has them, and the CPU at the guest's first instruction."""
    _, run, _ = states.state_in(t, Rounds)
    t.orderly(run)


def state_debug(t):
    """Debug registers: the guest's own, those that may watch, and those that no VMCB has."""
    states.state_debug(t, Rounds)


def state_groups(t):
    """Only what was changed is written, only what is asked for is read."""
    states.state_groups(t, Rounds)


def state_out(t):
    """Behind an exit: what is always true, and all groups when asked."""
    run, _ = states.state_out(t, Rounds)
    t.orderly(run)
