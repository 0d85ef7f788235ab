"""Lab 4A: VT-x turned on, and the way into the guest and back.

Witnessed through Bochs' own debugger: what a made-up CPU says to vmx_probe() and to what turns VT-x on is decided at each
of their CPUID and RDMSR instructions; VMXON's operand and its page are read from memory; registers are set and read on
both sides of VMLAUNCH and VMRESUME, and in the guest at its first instruction.
"""

import re
import struct

from checks.lab0 import KB, PAGE, outputs
from zeno.judging import headers
from zeno.judging.trial import Trouble

from .guests import LIMITS

GPRS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
CARRIED = [name for name in GPRS if name != "rsp"]
"""Those that are not the VMCS's."""
KEPT = ("rbx", "rbp", "r12", "r13", "r14", "r15")
"""Those that a C function finds as they were."""
CPUID, RDMSR, WRMSR = b"\x0f\xa2", b"\x0f\x32", b"\x0f\x30"
VMLAUNCH, VMRESUME = b"\x0f\x01\xc2", b"\x0f\x01\xc3"
CODE_AT, CPUID_AT = 0x200000, 0x200007
FLAG_CF, FLAG_IF, FLAG_DF = 1, 1 << 9, 1 << 10
STEPS, STOPS, WATCHED = 3000, 20, 100
RAM = 128 << 20
FEATURE_CONTROL, LOCKED, LEAVE = 0x3A, 1, 4
CR0_FIXED0, CR0_FIXED1, CR4_FIXED0, CR4_FIXED1 = range(0x486, 0x48A)
CR0_AM, CR0_MP = 1 << 18, 1 << 1
CR4_TSD, CR4_DE, CR4_PCE, CR4_OSXMMEXCPT, CR4_MCE = 1 << 2, 1 << 3, 1 << 8, 1 << 10, 1 << 6
"""Bits that mean nothing to what runs here: a CPU may want them so or so."""
FRAME_HOST, FRAME_SIZE, FRAME_REFS, FRAME_TYPE = headers.numbers(("kern/frame.h",), (
    "FRAME_HOST", "sizeof(struct frame)", "offsetof(struct frame, refs)", "offsetof(struct frame, type)"))
ENTERED, NO_VMCS, REFUSED = headers.numbers(("vmm/vmx/vmx.h",), ("ENTERED", "NO_VMCS", "REFUSED_VMCS"))
ANSWERS = {ENTERED: "ENTERED", NO_VMCS: "NO_VMCS", REFUSED: "REFUSED_VMCS"}


# -- what all of them share -------------------------------------------------------------------------


def witness(t, commands, points, **more):
    """Boot stopped, with a function at each address; then run to the end. (Run, {address: hits})."""
    return t.witness("-- " + "; ".join([*commands, "off"]), points, limits=LIMITS, **more)


def said(run, command, number=0):
    """The lines that a command printed."""
    found = [lines for name, lines in outputs(run) if name == command]
    return "\n".join(found[number]).strip() if number < len(found) else ""


def word(client, address):
    """Eight bytes of the kernel's."""
    return struct.unpack("<Q", client.read(address, 8))[0]


def to_return(client, regs):
    """At a function's first instruction: run it, to where it returns."""
    back = word(client, regs["rsp"])
    client.insert(back)
    for _ in range(STOPS):
        client.cont()
        if client.regs()["rip"] == back:
            break
    client.remove(back)


def at_msr(regs):
    """The number of the MSR of RDMSR or WRMSR."""
    return regs["rcx"] & 0xFFFFFFFF


def answer_msr(client, value):
    """Step over RDMSR, which says this."""
    client.step()
    client.set_reg("rax", value & 0xFFFFFFFF)
    client.set_reg("rdx", value >> 32)


# -- 4.1: there and on -------------------------------------------------------------------------------


class Cpu:
    """What a CPU that is made up says of itself; `why` is what it lacks, None if nothing."""

    def __init__(self, rng, why, vmx, feature, lacks):
        self.rng, self.why, self.vmx, self.lacks = rng, why, vmx, lacks
        self.feature = rng.getrandbits(32) & 0xFF02 | feature

    def leaf(self, number):
        """[eax, ebx, ecx, edx] of a CPUID leaf: at random but for what counts."""
        regs = [self.rng.getrandbits(32) for _ in range(4)]
        if number == 1:
            regs[2] = regs[2] & ~(1 << 5) | self.vmx << 5
        return regs


def cpus(rng):
    """CPUs of all kinds, in a random order."""
    kinds = [("no VT-x", 0, LOCKED, False), ("no VT-x", 0, LOCKED | LEAVE, False), ("locked", 1, LOCKED, False),
             ("no EPT", 1, LOCKED | LEAVE, True), ("no EPT", 1, 0, True),
             (None, 1, LOCKED | LEAVE, False), (None, 1, 0, False), (None, 1, LEAVE, False)]
    rng.shuffle(kinds)
    return [Cpu(rng, *kind) for kind in kinds]


LACKS = b"this CPU's VT-x lacks EPT\0"


def call_on(t, client, back, stack, cpu):
    """Call vmx_probe(), and answer its CPUID and RDMSR, and what it asks vmx_lacks(); what it gives back."""
    entry, lacks = t.symbol("vmx_probe"), t.symbol("vmx_lacks")
    client.write(stack - 8, struct.pack("<Q", back))
    client.write(stack, LACKS)
    client.set_reg("rsp", stack - 8)
    client.set_reg("rip", entry)
    for _ in range(STEPS):
        regs = client.regs()
        if regs["rip"] == back:
            return regs["rax"]
        code = client.read(regs["rip"], 2)
        if regs["rip"] == lacks:
            t.check(cpu.vmx, "vmx_probe() asks vmx_lacks() on a CPU without VT-x: its MSRs are not there, and the host faults",
                    "no call", "#GP")
            client.set_reg("rax", stack if cpu.lacks else 0)
            client.set_reg("rip", word(client, regs["rsp"]))
            client.set_reg("rsp", regs["rsp"] + 8)
        elif code == CPUID:
            client.step()
            for name, number in zip(("rax", "rbx", "rcx", "rdx"), cpu.leaf(regs["rax"] & 0xFFFFFFFF)):
                client.set_reg(name, number)
        elif code == RDMSR:
            t.check(cpu.vmx and at_msr(regs) == FEATURE_CONTROL, f"vmx_probe() reads the MSR {at_msr(regs):x} on a CPU that has "
                    f"{cpu.why or 'no such one'}: there is none, and the host faults", "no such read", "#GP")
            answer_msr(client, cpu.feature)
        else:
            t.check(code != WRMSR, "vmx_probe() writes to an MSR: it is asked, and must change nothing", "no WRMSR",
                    f"WRMSR {at_msr(regs):x}")
            client.step()
    return t.fail("vmx_probe() does not come back", "an answer", f"{STEPS} instructions")


def line_at(client, address):
    """The text that a pointer of the kernel's leads to."""
    raw = client.read(address, 200) if address >= KB else b""
    return raw.split(b"\0")[0].decode("latin-1") if b"\0" in raw else ""


def probe(t):
    """Made-up CPUs: each that lacks something is told in a line of its own, and none faults."""
    start, answers = t.symbol("monitor_run"), []

    def ask(client, regs):
        stack = (regs["rsp"] - 0x800) & ~15
        for cpu in cpus(t.rng):
            got = call_on(t, client, start, stack, cpu)
            answers.append((cpu, line_at(client, got) if got else None))
        for name in (*GPRS, "rip"):
            client.set_reg(name, regs[name])
        return True

    run, _ = witness(t, ["engines"], {start: ask})
    if not answers:
        raise Trouble("the monitor never ran")
    lines = {}
    for cpu, line in answers:
        if cpu.why is None:
            t.check(line is None, f"on a CPU that has all, vmx_probe() says that it has not: {line}", "NULL", line)
            continue
        t.check(line is not None, f"a CPU that has {cpu.why} is taken for a good one"
                if cpu.why != "locked" else "a CPU whose firmware has locked VT-x is taken for a good one", "a line", "NULL")
        t.check(line.isprintable() and 8 <= len(line) <= 160, f"what vmx_probe() says of a CPU that has {cpu.why} is no "
                "line for a person", "one printable line", repr(line))
        lines.setdefault(cpu.why, set()).add(line)
    for why, some in lines.items():
        others = [other for other, told in lines.items() if other != why and told & some]
        t.check(not others, f"a CPU with {why} and one with {', '.join(others)} get the same line", "different lines",
                "\n".join(sorted(some)))
    t.orderly(run)


class TurningOn:
    """All of vmx_prepare() up to vmx_ask_cpu(), on a CPU that wants other bits fixed than Bochs' does."""

    def __init__(self, t, is_open):
        self.t, self.is_open, rng = t, is_open, t.rng
        must4 = rng.sample([CR4_TSD, CR4_DE, CR4_PCE, CR4_MCE], 2)
        self.ones = CR0_AM, sum(must4)
        self.zeros = CR0_MP, CR4_OSXMMEXCPT
        self.fixed = {CR0_FIXED0: 0x80000021 | self.ones[0], CR0_FIXED1: 0xFFFFFFFF & ~self.zeros[0],
                      CR4_FIXED0: 0x2000 | self.ones[1], CR4_FIXED1: 0x1727FF & ~self.zeros[1]}
        self.before = self.after = None
        self.written, self.page, self.vmxons = [], {}, 0

    def wrmsr(self, client, regs):
        """The real register is locked, as firmware has left it: the write is seen, and left out."""
        value = (regs["rdx"] & 0xFFFFFFFF) << 32 | regs["rax"] & 0xFFFFFFFF
        self.t.check(at_msr(regs) == FEATURE_CONTROL and not self.vmxons, f"turning VT-x on writes the MSR {at_msr(regs):x}",
                     "no other one than IA32_FEATURE_CONTROL, and that before VMXON", f"{value:#x}")
        self.t.check(self.is_open and not self.written, "IA32_FEATURE_CONTROL is written although it is locked: that faults",
                     "no WRMSR", f"{value:#x}")
        self.written.append(value)
        client.set_reg("rip", regs["rip"] + 2)

    def vmxon(self, client, regs):
        """What its operand names."""
        self.vmxons += 1
        at = operand(client, regs)
        if at is None:
            raise Trouble("VMXON's operand is in no form that this test can read")
        page = word(client, at)
        self.page["at"] = page
        if not page % PAGE and 0 < page < RAM:
            record = client.read(word(client, self.t.symbol("frames")) + page // PAGE * FRAME_SIZE, FRAME_SIZE)
            self.page |= {"type": record[FRAME_TYPE], "refs": struct.unpack_from("<I", record, FRAME_REFS)[0],
                          "first": struct.unpack("<I", client.read(page, 4, physical=True))[0]}
        self.page["cr"] = regs["cr0"], regs["cr4"]
        t = self.t
        if self.is_open:
            t.check(self.written, "VMXON comes before IA32_FEATURE_CONTROL says that it may: that faults",
                    "a write to the MSR first", "none")
            wanted = LOCKED | LEAVE
            t.check(self.written[0] & 7 == wanted, "IA32_FEATURE_CONTROL does not let VMXON in", f"bits {wanted:#x}",
                    f"{self.written[0]:#x}")
        t.check("type" in self.page, "VMXON's operand does not name a page of RAM", "the machine address of a page", f"{page:#x}")
        t.check(self.page["type"] == FRAME_HOST and self.page["refs"], "VMXON's operand names a page that somebody else may get",
                "a frame of the host's, with a reference", f"type {self.page['type']}, {self.page['refs']} references")
        self.control_registers(regs)
        client.step()
        now = client.regs()
        t.check(not 0 < now["rip"] - regs["rip"] < 16 or not now["eflags"] & FLAG_CF, "VMXON refuses its page, which does not "
                "begin with the CPU's revision", "the revision", f"{self.page['first']:x}")
        t.check(0 < now["rip"] - regs["rip"] < 16, "VMXON faults", "VMX operation", f"rip {now['rip']:#x}")

    def control_registers(self, regs):
        """At VMXON: what this CPU wants of them, and else as before."""
        t = self.t
        for name, before, ones, zeros in zip(("CR0", "CR4"), self.before, self.ones, self.zeros):
            got = regs[name.lower()]
            t.check(got & ones == ones, f"{name} lacks a bit at VMXON that this CPU wants at 1", f"{ones:#x} set", f"{got:#x}")
            t.check(not got & zeros, f"{name} has a bit at VMXON that this CPU wants at 0", f"{zeros:#x} clear", f"{got:#x}")
            must = 0x80000021 if name == "CR0" else 0x2000
            t.equal(hex((before | must | ones) & ~zeros), hex(got), f"{name} at VMXON")

    def walk(self, client, regs):
        """Step by step; what Zeno gives runs at one go."""
        given = {self.t.symbol(name) for name in ("frame_alloc", "vmx_revision")}
        self.before, done = (regs["cr0"], regs["cr4"]), self.t.symbol("vmx_ask_cpu")
        prepare = word(client, regs["rsp"])
        for _ in range(STEPS):
            regs = client.regs()
            if regs["rip"] == done:
                self.after = regs["cr0"], regs["cr4"]
                return True
            if regs["rip"] == prepare:
                return True
            code = client.read(regs["rip"], 16)
            if regs["rip"] in given:
                to_return(client, regs)
            elif code[:2] == RDMSR and at_msr(regs) == FEATURE_CONTROL:
                answer_msr(client, 0 if self.is_open and not self.written else LOCKED | LEAVE)
            elif code[:2] == RDMSR and at_msr(regs) in self.fixed:
                answer_msr(client, self.fixed[at_msr(regs)])
            elif code[:2] == WRMSR:
                self.wrmsr(client, regs)
            else:
                if code[:3] == b"\xf3\x0f\xc7" or re.match(rb"\xf3[\x40-\x4f]\x0f\xc7", code):
                    self.vmxon(client, regs)
                else:
                    client.step()
        return self.t.fail("turning VT-x on does not come to its end", "VMXON", f"{STEPS} instructions")


def operand(client, regs):
    """The address of a memory operand of VMXON: F3 [REX] 0F C7 /6."""
    code = client.read(regs["rip"], 16)
    rex, at = (code[1], 4) if 0x40 <= code[1] <= 0x4F else (0, 3)
    mode, base = code[at] >> 6, code[at] & 7
    address, at = 0, at + 1
    if mode == 3:
        return None
    if base == 4:
        sib, at = code[at], at + 1
        index, base = sib >> 3 & 7 | (rex & 2) << 2, sib & 7
        address = regs[GPRS[index]] << (sib >> 6) if index != 4 else 0
        if base == 5 and not mode:
            return address + struct.unpack_from("<i", code, at)[0] & (1 << 64) - 1
    elif base == 5 and not mode:
        return regs["rip"] + at + 4 + struct.unpack_from("<i", code, at)[0] & (1 << 64) - 1
    if mode:
        address += struct.unpack_from("<b" if mode == 1 else "<i", code, at)[0]
    return address + regs[GPRS[base | (rex & 1) << 3]] & (1 << 64) - 1


REVISION = re.compile(r"vmx: on, revision ([0-9a-f]+)")


def turned_on(t):
    """The MSR, the control registers, and VMXON's page, by the debugger, whether firmware has decided or not."""
    for is_open in t.rng.sample((False, True), 2):
        one = TurningOn(t, is_open)
        run, _ = witness(t, ["launch"], {t.symbol("vmx_prepare"): one.walk})
        t.check(one.before, "`launch` never came to vmx_prepare(): vmx_probe() says no", "vmx: on", said(run, "launch"))
        if not one.vmxons and not one.after and "error" not in said(run, "launch"):
            t.orderly(run)
        t.check(one.vmxons, "turning VT-x on gave up before VMXON", "VMXON", said(run, "launch"))
        t.check(one.after, "VMXON failed, and the host with it", "VMX operation", said(run, "launch"))
        found = REVISION.search(said(run, "launch"))
        if found:
            t.check(one.page["first"] == int(found[1], 16), "VMXON's page does not begin with the revision", found[1],
                    f"{one.page['first']:x}")
        t.orderly(run)


def no_memory(t):
    """No frame is left: nothing is on, and the next try may succeed."""
    alloc, prepare, made = t.symbol("frame_alloc"), t.symbol("vmx_prepare"), t.symbol("vmx_make_maps")
    state = {"in": False, "refused": 0, "cr4": None}

    def begin(client, regs):
        state["in"] = not state["refused"]
        state["cr4"] = regs["cr4"] if state["cr4"] is None else state["cr4"]
        state["second"] = regs["cr4"]
        return False

    def give(client, regs):
        if state["in"]:
            client.set_reg("rax", (1 << 64) - 1)
            client.set_reg("rip", word(client, regs["rsp"]))
            client.set_reg("rsp", regs["rsp"] + 8)
            state["refused"] += 1
            state["in"] = False
        return False

    run, seen = witness(t, ["launch", "launch"], {prepare: begin, alloc: give, made: lambda *_: True})
    t.check(state["refused"], "vmx_prepare() asks for no page", "a page for VMXON", "none")
    first, second = said(run, "launch"), said(run, "launch", 1)
    if "panic" in first:
        t.orderly(run)
    t.check(seen[prepare] == 2, "without memory vmx_prepare() goes on", "an error", first)
    t.check("out of memory" in first or "error 12" in first, "without memory vmx_prepare() does not say so", "-ENOMEM", first)
    t.check(state["second"] == state["cr4"], "without memory something is on", f"cr4 {state['cr4']:#x}", f"{state['second']:#x}")
    t.check("vmx: on" in second, "the next try does not succeed", "vmx: on", second)
    t.orderly(run)


# -- 4.2: enter and leave ----------------------------------------------------------------------------


class Crossing:
    """One call of vmx_enter(), seen at its begin, at the entry, in the guest, where the CPU comes back, and at its end."""

    def __init__(self, t, launched=None, skip=0):
        self.t, self.rng, self.launched, self.skip = t, t.rng, launched, skip
        self.entry, self.exited = t.symbol("vmx_enter"), t.symbol("vmx_exited")
        self.entries = {at: name for name, code in (("VMLAUNCH", VMLAUNCH), ("VMRESUME", VMRESUME)) for at in self.find(code)}
        self.host = self.at_entry = self.in_guest = self.end = self.back_at = None
        self.by, self.gpr, self.back = "", 0, 0
        self.wanted, self.left, self.stored = {}, {}, {}

    def find(self, code):
        """Where an instruction stands in the file of vmx_enter()."""
        found, low = [], min(self.entry, self.exited)
        for one in self.t.symbols.segments:
            start = low - one.va
            if 0 <= start < len(one.data):
                found += [one.va + m.start() for m in re.finditer(re.escape(code), one.data[:start + 0x400]) if m.start() >= start]
        return found

    def begin(self, client, regs):
        """At vmx_enter: random registers for the guest."""
        self.host, self.gpr = regs, regs["rdi"]
        self.back = word(client, regs["rsp"])
        self.wanted = {name: self.rng.getrandbits(64) for name in GPRS}
        client.write(self.gpr, struct.pack("<16Q", *(self.wanted[name] for name in GPRS)))
        if self.launched is not None:
            client.set_reg("rsi", self.rng.getrandbits(64) & ~0xFF | self.launched)

    def cross(self, client, regs):
        """All of one call; `skip` calls before it go by."""
        if self.skip:
            self.skip -= 1
            return False
        self.begin(client, regs)
        for point in (*self.entries, CODE_AT, self.exited, self.back):
            client.insert(point)
        for _ in range(STOPS):
            client.cont()
            regs = client.regs()
            if regs["rip"] in self.entries:
                self.at_entry, self.by = regs, self.entries[regs["rip"]]
            elif regs["rip"] == CODE_AT:
                self.in_guest = regs
            elif regs["rip"] == self.exited:
                self.back_at = regs
                self.left = {name: self.rng.getrandbits(64) for name in CARRIED}
                for name, value in self.left.items():
                    client.set_reg(name, value)
            elif regs["rip"] == self.back:
                self.end = regs
                self.stored = dict(zip(GPRS, struct.unpack("<16Q", client.read(self.gpr, 128))))
                break
        return True

    def run(self, *commands):
        """Boot, and look."""
        t = self.t
        t.check(set(self.entries.values()) == {"VMLAUNCH", "VMRESUME"}, "vmx_enter() lacks VMLAUNCH or VMRESUME",
                "0f 01 c2 and 0f 01 c3", ", ".join(self.entries.values()) or "none")
        run, _ = witness(t, commands or ["launch"], {self.entry: self.cross})
        t.check(self.host, "nobody calls vmx_enter()", "one call", run.text()[-600:])
        if not self.at_entry and "panic" in run.text():
            t.orderly(run)
        t.check(self.at_entry, "vmx_enter() never comes to VMLAUNCH or VMRESUME", "one of them", run.text()[-600:])
        return run

    def host_as_it_was(self, run, answer):
        """What C wants back, and the answer."""
        t = self.t
        if not self.end:
            t.orderly(run)
        t.check(self.end, "vmx_enter() never comes back", "a return", run.text()[-600:])
        t.check(self.end["rsp"] == self.host["rsp"] + 8, "the host's rsp is another one behind vmx_enter()",
                f"{self.host['rsp'] + 8:#x}", f"{self.end['rsp']:#x}")
        for name in KEPT:
            t.check(self.end[name] == self.host[name], f"the host's {name} is another one behind vmx_enter()",
                    f"{self.host[name]:#x}", f"{self.end[name]:#x}")
        t.check(not self.end["eflags"] & FLAG_IF, "interrupts are on behind vmx_enter()", "IF=0, as it was", "IF=1")
        t.check(not self.end["eflags"] & FLAG_DF, "DF is set behind vmx_enter()", "DF=0", "DF=1")
        got = self.end["rax"] & 0xFFFFFFFF
        t.check(got == answer, "vmx_enter() says something else than what happened", ANSWERS[answer],
                ANSWERS.get(got, f"eax {got:#x}"))


def carried_in(t):
    """Random registers for the guest, by VMLAUNCH and by VMRESUME, and at the guest's first instruction."""
    for skip, name in ((0, "VMLAUNCH"), (t.rng.randrange(1, 4), "VMRESUME")):
        one = Crossing(t, skip=skip)
        run = one.run(f"launch {skip + 2}")
        t.check(one.by == name, f"entry {skip + 1} is not by {name}", name, one.by)
        for reg in CARRIED:
            t.check(one.at_entry[reg] == one.wanted[reg], f"{reg} is not the guest's at {name}", f"{one.wanted[reg]:#x}",
                    f"{one.at_entry[reg]:#x}")
        if skip:  # it goes on behind its cpuid
            t.check(one.back_at, f"the CPU never came back by vmx_exited behind {name}", "an exit", run.text()[-600:])
            continue
        t.check(one.in_guest, "the guest never came to its first instruction", f"rip {CODE_AT:x}", run.text()[-600:])
        for reg in CARRIED[:7]:
            got, wanted = one.in_guest[reg] & 0xFFFFFFFF, one.wanted[reg] & 0xFFFFFFFF
            t.check(got == wanted, f"{reg} is another one in the guest", f"{wanted:#x}", f"{got:#x}")


def carried_out(t):
    """Random registers behind the guest: in gpr[], and the host has its own."""
    for skip in (0, t.rng.randrange(1, 4)):
        one = Crossing(t, skip=skip)
        run = one.run(f"launch {skip + 2}")
        if not one.left:
            t.orderly(run)
        t.check(one.left, "the CPU never came back by vmx_exited", "an exit", run.text()[-600:])
        one.host_as_it_was(run, ENTERED)
        for reg in CARRIED:
            t.check(one.stored[reg] == one.left[reg], f"gpr[] does not have the guest's {reg}", f"{one.left[reg]:#x}",
                    f"{one.stored[reg]:#x}")


def refused(t):
    """What the CPU refuses comes back, each in its way, and the next entry works."""
    number = t.rng.randrange(2, 5)
    again = f"launch {number}"
    for command, launched, skip, answer, words in (
            (f"launch {number + 1}", 1, 0, REFUSED, "no exit: the CPU refuses the VMCS (VM-instruction error 5)"),
            (f"launch {number + 1}", 0, 1, REFUSED, "no exit: the CPU refuses the VMCS (VM-instruction error 4)"),
            ("launch 1 bad", None, 0, ENTERED, "no exit: the CPU refuses the guest's state (exit reason 33)")):
        one = Crossing(t, launched, skip)
        run = one.run(command, again)
        one.host_as_it_was(run, answer)
        t.check(words in said(run, command), "an entry that must be refused was not", words, said(run, command))
        t.check(f"exit {number}: cpuid" in said(run, again), "behind a refused entry the next one does not work",
                f"exit {number}: cpuid at {CPUID_AT:x}", said(run, again))
        t.orderly(run)


def rounds(t):
    """Ten thousand rounds: some of them watched, and the host is as it was."""
    count = t.rng.randrange(10_000, 11_000)
    command, one = f"launch {count}", Crossing(t)
    state, seen, wrong = {}, [], []

    def watch(client, regs):
        if regs["rip"] == one.entry:
            state["host"], state["back"] = regs, word(client, regs["rsp"])
        elif regs["rip"] == CPUID_AT:
            seen.append((regs["rax"] & 0xFFFFFFFF, regs["rcx"] & 0xFFFFFFFF, regs["cs"]))
            host, back = state["host"], state["back"]
            client.insert(back)
            client.cont()
            client.remove(back)
            now = client.regs()
            wrong.extend(name for name in KEPT if now[name] != host[name])
            if now["rip"] != back or now["rsp"] != host["rsp"] + 8:
                wrong.append("rsp")
        return len(seen) == WATCHED

    run, _ = witness(t, [command, "launch"], dict.fromkeys((one.entry, CPUID_AT), watch))
    t.orderly(run)
    t.check(not wrong, f"the host's {wrong[0] if wrong else ''} is another one behind vmx_enter()", "as it was", wrong[:3])
    t.check(len(seen) == WATCHED and set(seen) == {(1, 0, 8)}, "the guest does not come to its cpuid with what it has made",
            "eax 1, ecx 0, cs 8", seen[-1:])
    t.check(f"exit {count}: cpuid at {CPUID_AT:x}" in said(run, command), f"the guest does not come to its cpuid {count} times",
            f"exit {count}: cpuid at {CPUID_AT:x}", said(run, command))
    t.check("exit 1: cpuid" in said(run, "launch"), "behind that nothing works any more", "exit 1", said(run, "launch"))


TIME = re.compile(r"Next at t=(\d+)")


def spin(t):
    """No VMCS is current; then a guest that never exits, with its interrupts on and off: the host goes on."""
    one = Crossing(t)
    count = t.rng.randrange(4, 8)
    command, ends = f"launch {count} spin", []
    state = {}

    def none(client, regs):
        back = word(client, regs["rsp"])
        client.insert(back)
        client.cont()
        state["none"] = regs, client.regs(), back
        client.remove(back)
        for point in (CODE_AT, one.exited):
            client.insert(point)
        for _ in range(8 * STOPS):
            client.cont()
            at, now = client.regs()["rip"], int(TIME.search(client.said)[1])
            if at == CODE_AT:
                client.remove(CODE_AT)
                state["since"] = now
            elif at == one.exited:
                ends.append(now - state.get("since", now))
                client.insert(CODE_AT)
            if len(ends) == count:
                break
        return True

    run, _ = witness(t, ["launch 1 none", command, "launch"], {one.entry: none})
    t.check("none" in state, "nobody calls vmx_enter()", "one call", run.text()[-600:])
    before, after, back = state["none"]
    if after["rip"] != back:
        t.orderly(run)
    t.check(after["rip"] == back, "without a current VMCS vmx_enter() never comes back", "a return", run.text()[-600:])
    for name in KEPT:
        t.check(after[name] == before[name], f"without a current VMCS the host's {name} is another one behind vmx_enter()",
                f"{before[name]:#x}", f"{after[name]:#x}")
    t.check(after["rax"] & 0xFFFFFFFF == NO_VMCS, "without a current VMCS vmx_enter() says something else", "NO_VMCS",
            ANSWERS.get(after["rax"] & 0xFFFFFFFF, f"eax {after['rax'] & 0xFFFFFFFF:#x}"))
    t.check(f"exit {count}: the host's turn at {CODE_AT:x}" in said(run, command), "a guest that never exits is not brought "
            "back by the host's interrupts", f"exit {count}: the host's turn at {CODE_AT:x}", said(run, command))
    t.check("exit 1: cpuid" in said(run, "launch"), "behind a guest that never exits nothing works any more", "exit 1",
            said(run, "launch"))
    t.orderly(run)
    t.check(sum(ends) > 1000 * count, "the guest that never exits has not run", f"more than {1000 * count} instructions", ends)
