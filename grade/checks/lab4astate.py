"""Lab 4A, exercise 4.3: the guest's state on its way into the VMCS and back.

Witnessed through Bochs' debugger: the command `launch N state` moves a vCPU's state through the student's functions. At
each call the grader puts random values on both sides, marks groups as it likes, and reads what has become of them from the
VMCS, whose layout on Bochs is known; before, in and behind the guest it asks the emulator for what the CPU has.
"""

import struct

from zeno.judging import headers
from zeno.judging.trial import Trouble

from . import states
from .lab4 import CODE_AT, RDMSR, STOPS, find_code, return_with, word
from .lab4aon import CR0_FIXED0, answer_msr, at_msr
from .lab4sa import canonical
from .states import CODE, CR, DATA, MSR, PRESENT, SEGMENTS, VCPU_ENGINE, Kind

NXE, LMA, LME, SCE, PAE = 1 << 11, 1 << 10, 1 << 8, 1, 1 << 5
ET, NE, NW, CD, PG, VMXE = 1 << 4, 1 << 5, 1 << 29, 1 << 30, 1 << 31, 1 << 13
PE, MP, WP, AM, PSE = 1, 1 << 1, 1 << 16, 1 << 18, 1 << 4
LONG, WIDE, SCALED, UNUSABLE, IA32E, PAGE = 0x200, 0x400, 0x800, 1 << 16, 1 << 9, 4096
WORD = (1 << 64) - 1
CODES = (b"\x0f\x22\xd0\x0f\xa2", b"\x0f\xa2")
"""mov cr2, rax; cpuid. In ring 3 the second alone."""
LISTED = ("star", "lstar", "cstar", "sfmask", "kernel_gs_base", "tsc_aux")
COPIES = {"cr2": CR, "cr8": CR, "xcr0": MSR, "apic_base": MSR}
"""What no VMCS has, and Zeno keeps beside it."""
FIELDS = states.fields_of([("cr8", CR, 8), *((f"pdpte[{n}]", CR, 8) for n in range(4)),
                           *((name, MSR, 8) for name in ("tsc_aux", "xcr0", "apic_base"))])
NUMBERS = ("GUEST_ES", "GUEST_ES_BASE", "GUEST_ES_LIMIT", "GUEST_ES_RIGHTS", "GUEST_GDTR_BASE", "GUEST_GDTR_LIMIT",
           "GUEST_IDTR_BASE", "GUEST_IDTR_LIMIT", "GUEST_CR0", "GUEST_CR3", "GUEST_CR4", "CR0_SHADOW", "CR4_SHADOW", "GUEST_EFER",
           "ENTRY_CONTROLS", "GUEST_PDPTE", "GUEST_SYSENTER_CS", "GUEST_SYSENTER_ESP", "GUEST_SYSENTER_EIP", "GUEST_PAT",
           "TSC_OFFSET", "GUEST_DR7", "GUEST_RSP", "GUEST_RIP", "GUEST_RFLAGS", "EPT_POINTER")
FIELD = dict(zip(NUMBERS, headers.numbers(("vmm/vmx/vmcs.h",), NUMBERS)))
PART = {"sel": "GUEST_ES", "base": "GUEST_ES_BASE", "limit": "GUEST_ES_LIMIT", "attr": "GUEST_ES_RIGHTS"}
IN_VMCS = {"rsp": "GUEST_RSP", "rip": "GUEST_RIP", "rflags": "GUEST_RFLAGS", "cr0": "GUEST_CR0", "cr0's shadow": "CR0_SHADOW",
           "cr4": "GUEST_CR4", "cr4's shadow": "CR4_SHADOW", "cr3": "GUEST_CR3", "efer": "GUEST_EFER", "dr7": "GUEST_DR7",
           "long mode": "ENTRY_CONTROLS", "sysenter_cs": "GUEST_SYSENTER_CS",
           "sysenter_esp": "GUEST_SYSENTER_ESP", "sysenter_eip": "GUEST_SYSENTER_EIP", "pat": "GUEST_PAT",
           "tsc_offset": "TSC_OFFSET", **{f"{table}.{part}": f"GUEST_{table.upper()}_{part.upper()}"
                                          for table in ("gdtr", "idtr") for part in ("base", "limit")}}
X = dict(zip((*COPIES, "dr", "msrs", "owned0", "owned4", "vmcs"), headers.numbers(("vmm/vmx/vmx.h",), [
    *(f"offsetof(struct vmx, {name})" for name in (*COPIES, "dr", "guest_msr", "cr0_owned", "cr4_owned", "vmcs_at"))])))
SHADOWED, OWN, CR0_MUST = headers.numbers(("vmm/vmx/vmx.h",), (
    "offsetof(struct vmx, shadowed)", "offsetof(struct vmx, own)", "offsetof(struct vmx_cpu, cr0_must)"))
X_SIZE, = headers.numbers(("vmm/vmx/vmx.h",), ("sizeof(struct vmx)",))


def vmcs_numbers():
    """{name: the field's number} of all that this test reads and writes in a VMCS."""
    found = {name: FIELD[field] for name, field in IN_VMCS.items()}
    found |= {f"{name}.{part}": FIELD[field] + 2 * n for n, name in enumerate(SEGMENTS) for part, field in PART.items()}
    return found | {f"pdpte[{n}]": FIELD["GUEST_PDPTE"] + 2 * n for n in range(4)}


VMCS = vmcs_numbers()


def place(number):
    """(Where Bochs keeps a field of a VMCS, bytes): 64 words for each width and type. Access rights it turns by 8 bits."""
    row = (number >> 13 & 3) << 2 | number >> 10 & 3
    return 0x10 + (row * 64 + (number & 0x3FF)) * 4, (2, 8, 4, 8)[number >> 13 & 3]


def first_at(ring):
    """The guest's first instruction: Bochs remembers what it has decoded, so each ring has a place of its own."""
    return CODE_AT + 0x800 + 0x80 * ring


def rights(attr):
    """SDM 3C table 25-2."""
    return attr & 0xFF | (attr & 0xF00) << 4 | (0 if attr & PRESENT else UNUSABLE)


def attributes(value):
    """... and back."""
    return value & 0xFF | value >> 4 & 0xF00


def limits(rng, attr):
    """A limit that goes with G: SDM 3C 27.3.1.2."""
    return rng.getrandbits(32) | 0xFFF if attr & SCALED else rng.getrandbits(20)


def segments(rng, kind, code_base):
    """Six segments and two more, as the CPU takes them: SDM 3C 27.3.1.2."""
    found = {}
    for name in SEGMENTS:
        attr = DATA | PRESENT | rng.choice((0, WIDE, SCALED, WIDE | SCALED)) | kind.ring << 5 | 0x100 * rng.randrange(2)
        if name in ("ds", "es", "fs", "gs") and rng.randrange(3) == 0 or name == "ss" and kind.no_stack:
            attr &= ~PRESENT
        found[f"{name}.attr"], found[f"{name}.sel"] = attr, rng.getrandbits(16)
        found[f"{name}.base"] = canonical(rng) if name in ("fs", "gs", "ldtr", "tr") else rng.getrandbits(32)
    form = LONG if kind.long else WIDE
    found["cs.attr"] = CODE | PRESENT | SCALED | form | (4 if kind.conforming else kind.ring << 5)
    found["cs.base"] = code_base
    for name in ("cs", "ss"):
        found[f"{name}.sel"] = found[f"{name}.sel"] & ~3 | kind.ring
    found["ldtr.attr"], found["tr.attr"] = rng.choice((PRESENT | 2, 2)) | SCALED * rng.randrange(2), PRESENT | 0xB
    found |= {f"{name}.limit": limits(rng, found[f"{name}.attr"]) for name in SEGMENTS}
    found["cs.limit"] = 0xFFFFFFFF
    for name in ("ldtr", "tr"):
        found[f"{name}.sel"] &= ~4
    return found


def control_registers(rng, kind):
    """Of a guest that reads of its own, besides, what the CPU does not have."""
    found = {"cr0": (not kind.real) | ET | rng.getrandbits(19) & 0x5002E | rng.choice((0, CD, CD | NW)),
             "cr4": rng.getrandbits(11) & ~PAE, "cr2": canonical(rng), "cr3": rng.getrandbits(20) << 12, "cr8": rng.getrandbits(4),
             "efer": rng.choice((0, SCE)) | rng.choice((0, NXE)) | LME * rng.getrandbits(1)}
    if kind.long:
        found |= {"cr0": found["cr0"] | PG, "cr4": found["cr4"] | PAE, "cr3": CODE_AT, "efer": found["efer"] | LME | LMA}
    return found | {f"pdpte[{n}]": rng.getrandbits(20) << 12 | 1 for n in range(4)}


class Rounds(states.Rounds):
    """A boot of `launch N state`."""

    FIELDS = FIELDS
    KINDS = [Kind(0, real=True), Kind(0, long=True), Kind(3, conforming=True), Kind(3, long=True, no_stack=True), Kind(0)]
    COMMAND = "launch {} state"
    FUNCTIONS = ("vmx_state_to_vmcs", "vmx_state_from_vmcs", "vmx_fetch")
    ALWAYS = ("rsp", "rip", "rflags")

    page = 0
    """The machine address of the guest's only page."""
    owned = 0, 0
    """What the guest does not have of CR0 and CR4."""
    ones = NE
    """What the CPU wants at 1 in its CR0."""
    stale = None

    def a_state(self, kind, code_base):
        rng = self.rng
        found = segments(rng, kind, code_base) | control_registers(rng, kind)
        found |= {"rsp": canonical(rng) if kind.long else rng.getrandbits(32), "rflags": rng.getrandbits(22) & 0x243ED5 | 2,
                  "rip": first_at(kind.ring) - code_base & 0xFFFFFFFF}
        if not self.rounds:  # whose fields nobody has written yet: any value may be new
            found["rsp"] = WORD
        if self.stale and rng.randrange(2):  # what the VMCS had before the guest ran, and has no longer
            found |= {name: self.stale[name] for name in ("rsp", "rflags")}
        for name in ("gdtr", "idtr"):
            found[f"{name}.limit"], found[f"{name}.base"] = rng.getrandbits(16), canonical(rng)
        found |= {name: canonical(rng) for name, (group, _, _) in FIELDS.items() if group == MSR}
        found |= {"sfmask": rng.getrandbits(22), "sysenter_cs": rng.getrandbits(16), "tsc_offset": rng.getrandbits(40),
                  "tsc_aux": rng.getrandbits(32), "xcr0": rng.getrandbits(32),
                  "pat": int.from_bytes(bytes(rng.choice((0, 1, 4, 5, 6, 7)) for _ in range(8)), "little"),
                  "dr6": 0xFFFF0FF0 | rng.getrandbits(4) | rng.getrandbits(3) << 13,
                  "dr7": 0x400 | rng.getrandbits(16) << 16}
        return found

    # The VMCS, and what Zeno keeps beside it.

    def hardware(self):
        found = {name: group for name, (group, _, _) in FIELDS.items() if name != "dr6"}
        return found | {"cr0's shadow": CR, "cr4's shadow": CR, "long mode": CR}

    def for_cpu(self, state, name):
        if name.endswith(".attr"):
            return rights(state[name])
        values = {"cr0": state["cr0"] & ~self.owned[0] | self.ones, "cr0's shadow": state["cr0"], "cr4": state["cr4"] | VMXE,
                  "cr4's shadow": state["cr4"], "long mode": IA32E * bool(state["efer"] & LMA)}
        return values[name] if name in values else state[name]

    def same(self, name, got, wanted):
        if name.endswith(".attr") and wanted & UNUSABLE and got & UNUSABLE:
            return name != "ss.attr" or (got ^ wanted) & 0x60 == 0  # SDM 3C 27.3.1.2: SS's DPL is the ring in any case
        if name == "cr0":  # SDM 3C 27.3.2.1: an entry leaves these as they are
            return not (got ^ wanted) & ~(ET | CD | NW)
        if name.endswith("shadow"):  # the CPU looks at the bits that the mask has
            return not (got ^ wanted) & self.owned[name.startswith("cr4")]
        return got == wanted

    def alike(self, name, got, wanted):
        if name.endswith(".attr") and not wanted & PRESENT:
            return not got & PRESENT and (name != "ss.attr" or (got ^ wanted) & 0x60 == 0)
        return got == wanted

    def engine(self, client, vcpu):
        """(Where its struct vmx is, what it has.)"""
        at = word(client, vcpu + VCPU_ENGINE)
        return at, client.read(at, X_SIZE)

    def vmcs(self, raw):
        """Its VMCS's machine address."""
        return struct.unpack_from("<Q", raw, X["vmcs"])[0]

    def read_hardware(self, client, vcpu):
        _, raw = self.engine(client, vcpu)
        page = client.read(self.vmcs(raw), PAGE, physical=True)
        found = {}
        for name, number in VMCS.items():
            at, size = place(number)
            found[name] = int.from_bytes(page[at:at + size], "little")
            if name.endswith(".attr"):
                found[name] = found[name] >> 8 | (found[name] & 0xFF) << 24
        found["long mode"] &= IA32E
        found |= {name: struct.unpack_from("<Q", raw, X[name])[0] for name in COPIES}
        found |= {name: struct.unpack_from("<Q", raw, X["msrs"] + 16 * n + 8)[0] for n, name in enumerate(LISTED)}
        return found

    def write_hardware(self, client, vcpu, values, changed, ring):
        at, raw = self.engine(client, vcpu)
        vmcs, behind = self.vmcs(raw), changed is None
        known = self.hardware()
        for name, number in VMCS.items():
            if not known[name] and not behind:
                continue  # of what goes on every way Zeno remembers what the VMCS has
            where, size = place(number)
            value = self.for_cpu(values, name)
            if name.endswith(".attr"):
                value |= PRESENT * self.rng.randrange(2) if behind and value & UNUSABLE else 0  # no CPU need tell
                value = value << 8 & 0xFFFFFFFF | value >> 24
            if name.endswith("shadow"):
                value ^= self.rng.getrandbits(64) & ~self.owned[name.startswith("cr4")]
            if name == "long mode":
                value |= int.from_bytes(client.read(vmcs + where, 4, physical=True), "little") & ~IA32E
                value ^= IA32E * self.rng.randrange(2) if not behind and changed & CR else 0
            client.write(vmcs + where, value.to_bytes(size, "little"), physical=True)
        new = bytearray(raw)
        for name in COPIES:
            struct.pack_into("<Q", new, X[name], values[name])
        for n, name in enumerate(LISTED):
            struct.pack_into("<Q", new, X["msrs"] + 16 * n + 8, values[name])
        for name in (*COPIES, "msrs"):
            size = 96 if name == "msrs" else 8
            client.write(at + X[name], bytes(new[X[name]:X[name] + size]))

    # The CPU.

    def cpu_has(self, client):
        regs, got, found = client.regs(), client.param("cpu0.MSR"), {}
        for name in SEGMENTS:
            one = client.param(f"cpu0.{name.upper()}")
            word_of = {part: one.get(part, 0) for part in ("p", "dpl", "segment", "type", "granularity", "d_b", "l", "avl")}
            attr = (word_of["type"] | word_of["segment"] << 4 | word_of["dpl"] << 5 | word_of["p"] << 7 | word_of["avl"] << 8
                    | word_of["l"] << 9 | word_of["d_b"] << 10 | word_of["granularity"] << 11)
            there = one["valid"] & 1
            found |= {f"{name}.sel": (one["selector"], 0xFFFF)}
            found |= {f"{name}.attr": (rights(attr) if there else UNUSABLE | (word_of["dpl"] << 5) * (name == "ss"), WORD),
                      f"{name}.limit": (one["limit_scaled"], 0xFFFFFFFF) if there else (0, 0),
                      f"{name}.base": (one["base"], WORD) if there or name in ("fs", "gs") else (0, 0)}
        for name in ("gdtr", "idtr"):
            found |= {f"{name}.base": (regs[f"{name}_base"], WORD), f"{name}.limit": (regs[f"{name}_limit"], 0xFFFF)}
        found |= {name: (regs[name], WORD) for name in ("cr0", "cr2", "cr3", "cr4", "dr0", "dr1", "dr2", "dr3", "dr7")}
        for name, key in (("efer", "EFER"), ("sfmask", "fmask"), ("kernel_gs_base", "kernelgsbase"), ("star", "star"),
                          ("lstar", "lstar"), ("cstar", "cstar"), ("tsc_aux", "tsc_aux"), ("sysenter_cs", "sysenter_cs_msr"),
                          ("sysenter_esp", "sysenter_esp_msr"), ("sysenter_eip", "sysenter_eip_msr"), ("pat", "pat")):
            found[name] = got[key], WORD
        if not regs["cr0"] & 1:
            found["cs.attr"] = found["cs.attr"][0] & ~8, WORD & ~8  # in real mode Bochs does not tell code from data
        return found

    def ready(self, client):
        # Given, and before the first round: the VMCS has EPT tables, and what the guest does not have.
        vcpu = client.regs()["rdi"]
        _, raw = self.engine(client, vcpu)
        self.owned = tuple(struct.unpack_from("<Q", raw, X[name])[0] for name in ("owned0", "owned4"))
        where, size = place(FIELD["EPT_POINTER"])
        entry = int.from_bytes(client.read(self.vmcs(raw) + where, size, physical=True), "little")
        for index in (0, 0, CODE_AT >> 21, CODE_AT >> 12 & 511):
            table = entry & 0xFFFFFFFFFF000
            if not table or client.param("cpu0.VMX")["vmcsptr"] != self.vmcs(raw):
                raise Trouble("the VMCS is not where it should be, or not as Bochs had it")
            entry, = struct.unpack("<Q", client.read(table + 8 * index, 8, physical=True))
        self.page = entry & 0xFFFFFFFFFF000
        # One page that is its own table on all four levels: entry 0 of three of them, entry 1 of the third.
        client.write(self.page, struct.pack("<2Q", CODE_AT | 7, CODE_AT | 7), physical=True)
        for ring, code in zip((0, 3), CODES):
            client.write(self.page + first_at(ring) - CODE_AT, code, physical=True)

    def enter(self, client, one, vcpu):
        """The way in by vmx_enter_and_back(), and what is before and behind it."""
        entry, behind = self.t.symbol("vmx_enter_and_back"), self.t.symbol("vmx_state_from_vmcs")
        self.stale = one.state
        points = [entry, first_at(one.kind.ring)]
        for point in points:
            client.insert(point)
        for _ in range(STOPS):
            client.cont()
            regs = client.regs()
            if regs["rip"] == entry:
                one.crossing.append(self.cpu_has(client))
                one.rax = self.rng.getrandbits(64) if one.kind.long else self.rng.getrandbits(32)
                client.write(regs["rsi"], struct.pack("<Q", one.rax))
                points.append(word(client, regs["rsp"]))
                client.insert(points[-1])
            elif len(points) > 2 and regs["rip"] == points[2]:
                one.crossing.append(self.cpu_has(client))
                one.cr2 = struct.unpack_from("<Q", self.engine(client, vcpu)[1], X["cr2"])[0]
                if self.read_hardware(client, vcpu)["rip"] == one.state["rip"]:  # an interrupt came first
                    one.rax = one.state["cr2"]
            elif regs["rip"] != behind and regs["rip"] & 0xFFFFFFFF == one.state["rip"]:
                one.in_guest = self.cpu_has(client)
            else:
                break
        for point in points:
            client.remove(point)
        regs = client.regs()
        return self.behind(client, regs) if regs["rip"] == behind else False

    def before_ask(self, client, one, vcpu):
        _, raw = self.engine(client, vcpu)
        *one.held, one.dr6 = (struct.unpack_from("<Q", raw, X["dr"] + 8 * n)[0] for n in (0, 1, 2, 3, 6))
        one.held = tuple(one.held)

    def why(self, one, name, got):
        wanted = one.later[name]
        if one.shadowed and name in ("cr0", "cr4"):
            return ": with mmu=shadow more of its bits are not the guest's"
        if name in ("cr0", "cr4") and (got ^ wanted) & self.owned[name == "cr4"]:
            return ": a bit that it does not have it reads from the shadow"
        return ""

    def why_in(self, name, got):
        if name == "cr0" and not got & NE or name == "cr4" and not got & VMXE:
            return ", and the CPU takes no VMCS without the bits that VMX operation fixes"
        return ""


class Others(Rounds):
    """... on a CPU that wants more of CR0 than Bochs', and with mmu=shadow, where Zeno has more of CR0 and CR4 for itself."""

    def ready(self, client):
        super().ready(client)
        self.wants, self.shadows = [], []
        self.given = self.t.symbol("vmx_cr0_ones")
        self.points = [self.given, *find_code(self.t, RDMSR, self.t.symbol(self.FUNCTIONS[0]))[:8]]

    def field(self, client, vmcs, name, value=None):
        """A field of the VMCS, or what comes into it."""
        at, size = place(VMCS[name])
        if value is not None:
            client.write(vmcs + at, value.to_bytes(size, "little"), physical=True)
        return int.from_bytes(client.read(vmcs + at, size, physical=True), "little")

    def shadow(self, client, at, on):
        """mmu=shadow, as vmx_shadow_init() makes it, or not; what Zeno has of CR0 and CR4 then."""
        owned = self.owned[0] | on * (PE | PG | WP), self.owned[1] | on * (PAE | PSE)
        client.write(at + SHADOWED, bytes([on]))
        for name, value in zip(("owned0", "owned4"), owned):
            client.write(at + X[name], struct.pack("<Q", value))
        return owned

    def once_more(self, client, one, vcpu, call):
        at, raw = self.engine(client, vcpu)
        vmcs, cpu = self.vmcs(raw), self.t.symbol("vmx_cpu") + CR0_MUST
        known, wants = client.read(cpu, 8), PG | PE | NE | self.rng.choice((MP, AM, MP | AM))

        def ask(client):
            regs = client.regs()
            if regs["rip"] == self.given:
                return_with(client, regs, wants & ~(PG | PE))
            elif at_msr(regs) == CR0_FIXED0:
                answer_msr(client, wants)

        client.write(cpu, struct.pack("<Q", wants))
        for point in self.points:
            client.insert(point)
        call(ask)
        for point in self.points:
            client.remove(point)
        client.write(cpu, known)
        self.wants.append((wants & ~(PG | PE), self.field(client, vmcs, "cr0")))
        self.shadow(client, at, True)
        cr3 = self.field(client, vmcs, "cr3", self.rng.getrandbits(20) << 12)
        call()
        self.shadows.append((*(self.field(client, vmcs, name) for name in ("cr0", "cr4")), self.field(client, vmcs, "cr3") == cr3))
        self.shadow(client, at, False)
        call()

    def before_ask(self, client, one, vcpu):
        super().before_ask(client, one, vcpu)
        one.shadowed = bool(self.rng.randrange(2))
        if not one.shadowed:
            return
        at, raw = self.engine(client, vcpu)
        vmcs, later = self.vmcs(raw), one.later
        for name, mask in zip(("cr0", "cr4"), self.shadow(client, at, True)):
            self.field(client, vmcs, name, later[name] & ~mask | self.rng.getrandbits(64) & mask)
            self.field(client, vmcs, f"{name}'s shadow", later[name] & mask | self.rng.getrandbits(64) & ~mask)
        client.write(at + OWN, struct.pack("<6Q", later["cr3"], later["efer"], *(later[f"pdpte[{n}]"] for n in range(4))))

    def after_ask(self, client, vcpu):
        self.shadow(client, self.engine(client, vcpu)[0], False)

    def judge_others(self):
        """What became of the two."""
        t = self.t
        for wants, got in self.wants:
            t.check(got & wants == wants, "a CPU wants more bits of CR0 at 1 than this one does, and takes no VMCS without them",
                    f"{wants:#x} set", f"{got:#x}")
        for cr0, cr4, same in self.shadows:
            t.check(cr0 & PG and cr4 & PAE and same, "with mmu=shadow the CPU would get the guest's own paging, and not what goes "
                    "with the tables that Zeno has for it", "CR0.PG, CR4.PAE and Zeno's CR3, as paging_out() has them",
                    f"cr0 {cr0:#x}, cr4 {cr4:#x}" + ", another CR3" * (not same))


CROSSING = [name for name in (*states.HOSTS, *LISTED, "sysenter_cs", "sysenter_esp", "sysenter_eip", "pat") if name not in
            ("cs.attr", "cs.limit", "ldtr.attr", "ldtr.limit", "ldtr.base")]
"""What is the host's behind an exit as before; the others the CPU makes up, and nobody sees it."""


def around(t, rounds):
    """What is before and behind vmx_enter_and_back()."""
    seen = [one for one in rounds if len(one.crossing) == 2]
    t.check(seen, "vmx_enter_and_back() does not come back", "a return", "none")
    for one in seen:
        before, after = one.crossing
        for name in CROSSING:
            t.check(before[name] == after[name], f"behind the entry the host's {states.shown(name)} is another one",
                    f"{before[name][0]:#x}", f"{after[name][0]:#x}")
        if one.in_guest:
            wanted = one.rax if one.kind.ring == 0 else one.state["cr2"]
            t.check(one.cr2 == wanted, "behind the exit the guest's CR2 is lost", f"{wanted:#x}", f"{one.cr2:#x}")


# -- the tests ---------------------------------------------------------------------------------------


def state_in(t):
    """All groups are new: the VMCS has them, and the CPU at the guest's first instruction."""
    trial, run, rounds = states.state_in(t, Others)
    trial.judge_others()
    around(t, rounds)
    t.orderly(run)


def state_debug(t):
    """Debug registers: the guest's own, those that may watch, and those that no VMCS has."""
    states.state_debug(t, Rounds)


def state_groups(t):
    """Only what was changed is written, only what is asked for is read."""
    states.state_groups(t, Rounds)


def state_out(t):
    """Behind an exit: what is always true, and all groups when asked."""
    run, rounds = states.state_out(t, Others)
    around(t, rounds)
    t.orderly(run)
