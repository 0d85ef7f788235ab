"""Lab 4A, exercise 4.1: VT-x turned on.

Witnessed through Bochs' own debugger: what a made-up CPU says to vmx_probe() and to what turns VT-x on is decided at each
of their CPUID and RDMSR instructions; VMXON's operand and its page are read from memory.
"""

import re
import struct

from checks.lab0 import PAGE
from zeno.judging.trial import Trouble

from .lab4 import (CPUID, FRAME_HOST, GPRS, RAM, RDMSR, STEPS, WRMSR, frame_of, line_at, lines_of_their_own, return_with, said,
                   to_return, witness, word)

FLAG_CF = 1
FEATURE_CONTROL, LOCKED, LEAVE_SMX, LEAVE = 0x3A, 1, 2, 4
CAPABILITIES = range(0x480, 0x48D)
"""MSRs that each CPU with VT-x has (SDM 3D appendix A), whatever it lacks besides."""
CR0_FIXED0, CR0_FIXED1, CR4_FIXED0, CR4_FIXED1 = range(0x486, 0x48A)
CR0_AM, CR0_MP = 1 << 18, 1 << 1
CR4_TSD, CR4_DE, CR4_PCE, CR4_OSXMMEXCPT, CR4_MCE = 1 << 2, 1 << 3, 1 << 8, 1 << 10, 1 << 6
"""Bits that mean nothing to what runs here: a CPU may want them so or so."""


def at_msr(regs):
    """The number of the MSR of RDMSR or WRMSR."""
    return regs["rcx"] & 0xFFFFFFFF


def answer_msr(client, value):
    """Step over RDMSR, which says this."""
    client.step()
    client.set_reg("rax", value & 0xFFFFFFFF)
    client.set_reg("rdx", value >> 32)


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
            return_with(client, regs, stack if cpu.lacks else 0)
        elif code == CPUID:
            client.step()
            for name, number in zip(("rax", "rbx", "rcx", "rdx"), cpu.leaf(regs["rax"] & 0xFFFFFFFF)):
                client.set_reg(name, number)
        elif code == RDMSR:
            known = at_msr(regs) == FEATURE_CONTROL or at_msr(regs) in CAPABILITIES
            t.check(cpu.vmx and known, f"vmx_probe() reads the MSR {at_msr(regs):x} on a CPU that has "
                    f"{cpu.why or 'no such one'}: there is none, and the host faults", "no such read", "#GP")
            if at_msr(regs) == FEATURE_CONTROL:
                answer_msr(client, cpu.feature)
            else:
                client.step()
        else:
            t.check(code != WRMSR, "vmx_probe() writes to an MSR: it is asked, and must change nothing", "no WRMSR",
                    f"WRMSR {at_msr(regs):x}")
            client.step()
    return t.fail("vmx_probe() does not come back", "an answer", f"{STEPS} instructions")


def probe(t):
    """Made-up CPUs: each that lacks something is told in a line of its own, and none faults."""
    start, answers = t.symbol("monitor_run"), []

    def ask(client, regs):
        stack = (regs["rsp"] - 0x800) & ~15
        for cpu in cpus(t.rng):
            got = call_on(t, client, start, stack, cpu)
            answers.append((cpu.why, line_at(client, got) if got else None))
        for name in (*GPRS, "rip"):
            client.set_reg(name, regs[name])
        return True

    run, _ = witness(t, ["engines"], {start: ask})
    if not answers:
        raise Trouble("the monitor never ran")
    lines_of_their_own(t, answers, "vmx_probe", "VT-x")
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
        self.others = sum(1 << n for n in rng.sample((15, 17, 18, 20), 2))
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
            self.page["type"], self.page["refs"] = frame_of(self.t, client, page)
            self.page["first"] = struct.unpack("<I", client.read(page, 4, physical=True))[0]
        self.page["cr"] = regs["cr0"], regs["cr4"]
        t = self.t
        if self.is_open:
            t.check(self.written, "VMXON comes before IA32_FEATURE_CONTROL says that it may: that faults",
                    "a write to the MSR first", "none")
            wanted = LOCKED | LEAVE
            t.check(not self.written[0] & LEAVE_SMX, "IA32_FEATURE_CONTROL gets bit 1, which a CPU without SMX does not have: that "
                    "faults", f"bits {wanted:#x}", f"{self.written[0]:#x}")
            t.check(self.written[0] & self.others == self.others, "IA32_FEATURE_CONTROL loses what the firmware had set in it",
                    f"{self.others | wanted:#x}", f"{self.written[0]:#x}")
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
                answer_msr(client, self.others | (0 if self.is_open and not self.written else LOCKED | LEAVE))
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
    alloc, prepare, made = t.symbol("frame_alloc"), t.symbol("vmx_prepare"), t.symbol("vmx_ask_cpu")
    state = {"in": False, "refused": 0, "cr4": None}

    def begin(client, regs):
        state["in"] = not state["refused"]
        state["cr4"] = regs["cr4"] if state["cr4"] is None else state["cr4"]
        state["second"] = regs["cr4"]
        return False

    def give(client, regs):
        if state["in"]:
            return_with(client, regs, (1 << 64) - 1)
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
