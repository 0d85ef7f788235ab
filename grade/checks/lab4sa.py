"""Lab 4sA: AMD-V turned on, and the way into the guest and back.

Witnessed through QEMU's GDB stub: what a made-up CPU says to svm_probe() is decided at each of its CPUID and RDMSR
instructions; registers are set and read on both sides of VMRUN, and in the guest at its first instruction; the VMCB and
the host's save area are read from physical memory.
"""

import re
import struct

from checks.lab0 import PAGE
from zeno.judging import headers
from zeno.judging.trial import Trouble
from zeno.machines import machine

from .guests import LIMITS
from .lab4 import (CODE_AT, CPUID, CPUID_AT, FRAME_HOST, GPRS, RAM, RDMSR, STEPS, STOPS, WRMSR, find_code, frame_of, host_kept,
                   line_at, lines_of_their_own, return_with, said, same_registers, witness, word)

CARRIED = [name for name in GPRS if name not in ("rax", "rsp")]
"""Those that are not the VMCB's."""
BASES = ("fs_base", "gs_base", "k_gs_base")
VMRUN = b"\x0f\x01\xd8"
CLGI, STGI, VMLOAD = b"\x0f\x01\xdd", b"\x0f\x01\xdc", b"\x0f\x01\xda"
SVME, SCE, CR0_PG = 1 << 12, 1, 1 << 31
WINDOWS = 3
VM_CR, SVMDIS = 0xC0010114, 1 << 4
FEW = machine.Limits(instructions=600_000_000, console_bytes=1 << 20, side_bytes=16 << 20)
ENGINE_DATA, SVM_VMCB = headers.numbers(("vmm/vcpu.h", "vmm/svm/svm.h"), (
    "offsetof(struct vcpu, engine_data)", "offsetof(struct svm, vmcb)"))
VMCB = {name: headers.offset_of(headers.ROOT, "vmm/svm/vmcb.h", "struct vmcb", member) for name, member in
        {"asid": "asid", "exitcode": "exitcode", "rax": "rax", "rsp": "rsp", "rip": "rip", "cr3": "cr3", "cr0": "cr0",
         "fs_base": "fs.base", "gs_base": "gs.base", "k_gs_base": "kernel_gs_base"}.items()}

# -- what all of them share -------------------------------------------------------------------------


def canonical(rng):
    """A random canonical address."""
    return rng.randrange(1 << 47) | rng.choice((0, 0xFFFF8 << 44))


def vmcb_of(client, vcpu):
    """Where a vCPU's VMCB is."""
    return word(client, word(client, vcpu + ENGINE_DATA) + SVM_VMCB)


def no_ticks(client):
    """Mask the host's timer, which goes on while the debugger looks, and would end each run before its first instruction."""
    client.monitor("o /b 0x21 0xff")


# -- 4s.1: there and on ------------------------------------------------------------------------------


class Cpu:
    """What a CPU that is made up says of itself; `why` is what it lacks, None if nothing."""

    def __init__(self, rng, why, last, svm, locked, nested):
        self.rng, self.why = rng, why
        self.last, self.svm, self.locked, self.nested = last, svm, locked, nested
        self.asked = []

    def leaf(self, number):
        """[eax, ebx, ecx, edx] of a CPUID leaf: at random but for what counts."""
        regs = [self.rng.getrandbits(32) for _ in range(4)]
        if number == 0x80000000:
            regs[0] = self.last
        elif number == 0x80000001:
            regs[2] = regs[2] & ~4 | self.svm << 2
        elif number == 0x8000000A:
            regs[3] = regs[3] & ~1 | self.nested
        return regs

    def msr(self, number):
        """What RDMSR gives; None: #GP."""
        self.asked.append(number)
        if number != VM_CR or not self.svm:
            return None
        return self.rng.getrandbits(64) & ~SVMDIS | self.locked * SVMDIS


NEITHER = "neither such a leaf nor AMD-V"
"""Either of the two lines is true of it: it depends on what is asked first."""


def cpus(rng):
    """CPUs of all kinds, in a random order."""
    last = rng.randrange(0x8000000A, 0x80000022)
    kinds = [("no such leaf", rng.randrange(0x80000001, 0x8000000A), 1, 0, 1),
             (NEITHER, rng.randrange(0x80000001, 0x8000000A), 0, 0, 1),
             ("no such leaf", rng.randrange(1, 0x20), 0, 1, 1),
             ("no AMD-V", last, 0, 0, 1), ("no AMD-V", 0x8000000A, 0, 1, 1),
             ("locked", last, 1, 1, 1), ("no nested paging", last, 1, 0, 0),
             (None, last, 1, 0, 1), (None, 0x8000000A, 1, 0, 1)]
    rng.shuffle(kinds)
    return [Cpu(rng, *kind) for kind in kinds]


def call_on(t, client, entry, back, stack, cpu):
    """Call a function, and answer its CPUID and RDMSR; what it gives back."""
    client.write(stack - 8, struct.pack("<Q", back))
    client.set_reg("rsp", stack - 8)
    client.set_reg("rip", entry)
    for _ in range(STEPS):
        regs = client.regs()
        if regs["rip"] == back:
            return regs["rax"]
        code = client.read(regs["rip"], 2)
        answer = None
        if code == CPUID:
            answer = dict(zip(("rax", "rbx", "rcx", "rdx"), cpu.leaf(regs["rax"] & 0xFFFFFFFF)))
        elif code == RDMSR:
            value = cpu.msr(regs["rcx"] & 0xFFFFFFFF)
            t.check(value is not None, f"svm_probe() reads the MSR {regs['rcx'] & 0xFFFFFFFF:x} on a CPU that has "
                    f"{cpu.why or 'no such one'}: there is none, and the host faults", "no such read", "#GP")
            answer = {"rax": value & 0xFFFFFFFF, "rdx": value >> 32}
        t.check(code != WRMSR, "svm_probe() writes to an MSR: it is asked, and must change nothing", "no WRMSR",
                f"WRMSR {regs['rcx'] & 0xFFFFFFFF:x}")
        client.step()
        for name, number in (answer or {}).items():
            client.set_reg(name, number)
    return t.fail("svm_probe() does not come back", "an answer", f"{STEPS} instructions")


def probe(t):
    """Made-up CPUs: each that lacks something is told in a line of its own, and none faults."""
    entry, start = t.symbol("svm_probe"), t.symbol("monitor_run")
    answers = []

    def ask(client, regs):
        stack = (regs["rsp"] - 0x800) & ~15
        for cpu in cpus(t.rng):
            got = call_on(t, client, entry, start, stack, cpu)
            answers.append((cpu.why, line_at(client, got) if got else None))
        for name in (*GPRS, "rip", "eflags"):
            client.set_reg(name, regs[name])
        return True

    run, _ = witness(t, ["engines"], {start: ask})
    if not answers:
        raise Trouble("the monitor never ran")
    either = {NEITHER: ("no such leaf", "no AMD-V"), "no such leaf": (NEITHER,), "no AMD-V": (NEITHER,)}
    lines_of_their_own(t, answers, "svm_probe", "AMD-V", either)
    t.orderly(run)


AREA = re.compile(rb"svm: on, host save area at ([0-9a-f]+)")


def turned_on(t):
    """EFER by the debugger; the CPU has written the host's state where it was told."""
    entry, asked, enter = (t.symbol(name) for name in ("svm_turn_on", "svm_ask_cpu", "svm_enter"))
    live, efer, host, area = [], {}, {}, {}

    def into(client, regs):
        # What `first` has read from the MSR: only a page in RAM can be looked at.
        host.update(regs)
        found = AREA.search(live[0].console())
        area["at"] = int(found[1], 16) if found else None
        if area["at"] is None or area["at"] % PAGE or not 0 < area["at"] < RAM:
            return True
        area["type"], area["refs"] = frame_of(t, client, area["at"])
        points = (*find_code(t, VMRUN, enter), CODE_AT)
        for point in points:
            client.insert(point)
        for _ in range(STOPS):
            client.cont()
            if client.regs()["rip"] == CODE_AT:  # there VMRUN has saved the host
                break
            if client.regs()["rip"] in points:  # what is in the page now is not the CPU's
                client.write(area["at"], t.rng.randbytes(PAGE), physical=True)
        if client.regs()["rip"] == CODE_AT:
            saved = client.read(area["at"], PAGE, physical=True)
            area.update({name: struct.unpack_from("<Q", saved, VMCB[name])[0] for name in ("cr3", "rip")})
        return True

    def begins(client, regs):
        if "before" not in efer:  # a bit is another one that means nothing to who never says syscall
            efer.update(before=regs["efer"] ^ SCE, was=regs["efer"])
            client.set_reg("efer", efer["before"])
        return False

    def is_on(client, regs):
        if "after" not in efer and "before" in efer:
            efer["after"] = regs["efer"]
            client.set_reg("efer", regs["efer"] & ~SCE | efer["was"] & SCE)
        return False

    run, _ = witness(t, ["first"], {entry: begins, asked: is_on, enter: into}, keep=live)
    t.check("before" in efer, "`first` never came to svm_turn_on(): svm_probe() says no", "svm: on", said(run, "first"))
    if "after" not in efer:
        t.orderly(run)
    t.check("after" in efer, "svm_turn_on() gave up", "0", said(run, "first"))
    t.check(efer["after"] & SVME, "EFER.SVME is not set", f"{efer['before'] | SVME:#x}", f"{efer['after']:#x}")
    t.equal(hex(efer["before"] | SVME), hex(efer["after"]), "EFER, but for its new bit,")
    t.check(area.get("type") is not None, "VM_HSAVE_PA does not name a page of RAM", "the machine address of a page",
            said(run, "first"))
    t.check(area["at"] != host["rdx"], "VM_HSAVE_PA names svm_host_state()'s page, where VMSAVE writes, too: the CPU's "
            "save area must be another one", "two pages", f"{area['at']:x} for both")
    t.check(area["type"] == FRAME_HOST and area["refs"], "VM_HSAVE_PA names a page that somebody else may get",
            "a frame of the host's, with a reference", f"type {area['type']}, {area['refs']} references")
    if "cr3" not in area and "no guest has run" in said(run, "first"):
        return  # no VMRUN yet: that is 4s.2's; a build with the reference's sees the rest
    t.check(area.get("cr3") == host["cr3"] and 0 < area["rip"] - enter < 0x400, "the CPU has not saved the host's state "
            "in the page that VM_HSAVE_PA names", f"cr3 {host['cr3']:#x}, rip in svm_enter()", area)
    t.orderly(run)


def no_memory(t):
    """No frame is left: nothing is on, and the next try may succeed."""
    alloc, turn_on, asked = t.symbol("frame_alloc"), t.symbol("svm_turn_on"), t.symbol("svm_ask_cpu")
    state = {"calls": 0, "in": False, "efer": [], "refused": 0}

    def begin(client, regs):
        state.update({"in": not state["refused"], "calls": 0})
        state["efer"].append(regs["efer"])
        return False

    def give(client, regs):
        if not state["in"]:
            return False
        state["calls"] += 1
        if state["calls"] == 2:  # the first one is svm_turn_on()'s own
            return_with(client, regs, (1 << 64) - 1)
            state["refused"] += 1
            state["in"] = False
        return False

    def went_on(_client, _regs):
        return True

    run, seen = witness(t, ["first", "first"], {turn_on: begin, alloc: give, asked: went_on})
    t.check(state["refused"], "svm_turn_on() asks for no second frame: the contract of 4s.1b wants the page in which the CPU "
            "keeps the host's state allocated there", "frame_alloc() called twice", "once")
    t.check(seen[turn_on] == 2 or seen[asked] == 0, "without memory svm_turn_on() goes on", "an error", said(run, "first"))
    first, second = said(run, "first"), said(run, "first", 1)
    t.check("out of memory" in first or "error 12" in first, "without memory svm_turn_on() does not say so", "-ENOMEM", first)
    t.check(len(state["efer"]) < 2 or state["efer"][0] == state["efer"][1], "without memory something is on",
            *(f"EFER {efer:#x}" for efer in state["efer"][:2]))
    t.check("svm: on" in second, "the next try does not succeed", "svm: on", second)
    t.orderly(run)


# -- 4s.2: enter and leave ---------------------------------------------------------------------------


class Crossing:
    """One call of svm_enter(), seen at its begin, at VMRUN, in the guest, behind VMRUN, and at its end."""

    def __init__(self, t, prepare=None):
        self.t, self.rng, self.prepare = t, t.rng, prepare
        self.entry = t.symbol("svm_enter")
        self.vmrun = (*find_code(t, VMRUN, self.entry), 0)[0]
        """Where VMRUN is; 0: nowhere."""
        self.host = self.at_vmrun = self.in_guest = self.end = None
        self.gpr = self.back = self.vmcb = 0
        self.wanted, self.left, self.stored, self.after = {}, {}, {}, b""
        self.slots = {}
        """What gpr[] has of the VMCB's two before."""

    def begin(self, client, regs):
        """At svm_enter: random registers for the guest."""
        self.host, self.gpr, self.vmcb = regs, regs["rdi"], regs["rsi"]
        self.back = word(client, regs["rsp"])
        self.wanted = {name: self.rng.getrandbits(64) for name in GPRS} | {name: canonical(self.rng) for name in BASES}
        client.write(self.gpr, struct.pack("<16Q", *(self.wanted[name] for name in GPRS)))
        self.slots = {name: self.wanted[name] for name in ("rax", "rsp")}
        self.wanted["rax"], self.wanted["rsp"] = self.rng.getrandbits(32), self.rng.getrandbits(32)
        for name in ("rax", "rsp", *BASES):
            client.write(self.vmcb + VMCB[name], struct.pack("<Q", self.wanted[name]), physical=True)
        if self.prepare:
            self.prepare(client, self.vmcb)

    def cross(self, client, regs):
        """All of one call."""
        self.begin(client, regs)
        no_ticks(client)
        for point in (self.vmrun, self.vmrun + 3, CODE_AT, self.back):
            client.insert(point)
        for _ in range(STOPS):
            client.cont()
            regs = client.regs()
            if regs["rip"] == self.vmrun:
                self.at_vmrun = regs
            elif regs["rip"] == CODE_AT:
                self.in_guest = regs
            elif regs["rip"] == self.vmrun + 3:
                self.left = {name: self.rng.getrandbits(64) for name in CARRIED}
                self.left |= {name: canonical(self.rng) for name in BASES}
                for name, value in self.left.items():
                    client.set_reg(name, value)
            elif regs["rip"] == self.back:
                self.end = regs
                self.stored = dict(zip(GPRS, struct.unpack("<16Q", client.read(self.gpr, 128))))
                self.after = client.read(self.vmcb, PAGE, physical=True)
                return True
        return True

    def field(self, name):
        """A field of the VMCB as svm_enter() left it."""
        return struct.unpack_from("<Q", self.after, VMCB[name])[0]

    def run(self, *commands):
        """Boot, and look."""
        t = self.t
        t.check(self.vmrun, "svm_enter() has no VMRUN in it", "0f 01 d8", "none")
        run, _ = witness(t, commands or ["first"], {self.entry: self.cross})
        t.check(self.host, "nobody calls svm_enter()", "one call", said(run, "first"))
        t.check(self.at_vmrun, "svm_enter() never comes to its VMRUN", "VMRUN", said(run, "first"))
        return run

    def host_as_it_was(self, run):
        """What C wants back, and what VMLOAD moves."""
        t = self.t
        if not self.end:
            t.orderly(run)
        t.check(self.end, "svm_enter() never comes back", "a return", said(run, "first"))
        host_kept(t, self.host, self.end, "svm_enter")
        same_registers(t, BASES, self.host, self.end, "behind svm_enter() {} is not the host's: what host_state names was not "
                       "loaded")


class Guarded(Crossing):
    """One call of svm_enter(), instruction by instruction: what keeps interrupts away while FS, GS and TR are the guest's."""

    open_at = None

    def cross(self, client, regs):
        """All of one call. Behind VMRUN the global interrupt flag is off (APM 2 15.6)."""
        self.host, self.vmcb = regs, regs["rsi"]
        self.back = word(client, regs["rsp"])
        no_ticks(client)
        flag, guests = True, False
        for _ in range(STEPS):
            regs = client.regs()
            if regs["rip"] == self.back:
                self.end = regs
                break
            code = client.read(regs["rip"], 3)
            if guests and flag and self.open_at is None:
                self.open_at = regs["rip"]
            if code == VMRUN:
                self.at_vmrun, flag = regs, False
                client.insert(regs["rip"] + 3)
                client.cont()
                client.remove(regs["rip"] + 3)
                continue
            client.step()
            if code in (CLGI, STGI):
                flag = code == STGI
            elif code == VMLOAD:
                guests = regs["rax"] == self.vmcb
        return True


def guarded(t):
    """An interrupt, NMI among them, finds the host's TR and FS, wherever it comes."""
    one = Guarded(t)
    run = one.run()
    t.check(one.end, "svm_enter() never comes back", "a return", said(run, "first"))
    t.check(one.open_at is None, "an NMI could come while FS, GS and TR are the guest's: its handler would run with them",
            "nothing comes in between", f"it comes in at {one.open_at or 0:#x}, behind the VMLOAD of the guest's")


def carried_in(t):
    """Random registers for the guest, at VMRUN and at the guest's first instruction."""
    for _ in range(2):
        one = Crossing(t)
        run = one.run()
        t.check(one.at_vmrun["rax"] == one.vmcb, "rax does not name the VMCB at VMRUN", f"{one.vmcb:#x}",
                f"{one.at_vmrun['rax']:#x}")
        same_registers(t, CARRIED, one.wanted, one.at_vmrun, "{} is not the guest's at VMRUN")
        t.check(one.in_guest, "the guest never came to its first instruction", f"rip {CODE_AT:x}", said(run, "first"))
        same_registers(t, GPRS[:8], one.wanted, one.in_guest, "{} is another one in the guest", 0xFFFFFFFF)
        same_registers(t, BASES, one.wanted, one.in_guest, "in the guest {} is not what the VMCB says: it was not loaded")


def carried_out(t):
    """Random registers behind the guest: in gpr[] and the VMCB, and the host has its own."""
    for _ in range(2):
        one = Crossing(t)
        run = one.run()
        one.host_as_it_was(run)
        t.check(one.left, "the CPU never came back behind VMRUN", "an exit", said(run, "first"))
        same_registers(t, CARRIED, one.left, one.stored, "gpr[] does not have the guest's {}")
        for name in BASES:
            t.check(one.field(name) == one.left[name], f"the VMCB does not have the guest's {name}: it was not saved",
                    f"{one.left[name]:#x}", f"{one.field(name):#x}")
        for name, before in one.slots.items():  # nobody needs them there, but if they are, they are the guest's
            t.check(one.stored[name] in (before, one.field(name)), f"gpr[] has a {name} that is neither the guest's nor what was "
                    "there before", f"{before:#x}", f"{one.stored[name]:#x}")
        rip, rax = one.field("rip"), one.field("rax")
        # The host's timer may have ended the run before the cpuid.
        wanted = 1 if rip > CODE_AT else one.wanted["rax"]
        t.check(CODE_AT <= rip <= CPUID_AT and rax == wanted, "the VMCB's rip and rax are not those of the guest when it left",
                f"rip {CODE_AT:x} to {CPUID_AT:x}, rax {wanted:x}", f"rip {rip:x}, rax {rax:x}")
    guarded(t)


def refused(t):
    """A VMCB that the CPU refuses: svm_enter() returns, and the host is as it was."""
    def spoil(client, vmcb):
        client.write(vmcb + VMCB["asid"], bytes(4), physical=True)

    one = Crossing(t, spoil)
    run = one.run("first", "first 2")
    one.host_as_it_was(run)
    t.check(one.field("exitcode") & 0xFFFFFFFF == 0xFFFFFFFF, "the VMCB with ASID 0 was not refused", "exit code -1",
            f"{one.field('exitcode'):#x}")
    t.check("exit 2: cpuid" in said(run, "first 2"), "behind a refused entry the next one does not work", "exit 2: cpuid at "
            "200007", said(run, "first 2"))
    t.orderly(run)


def by_the_guest(t, command):
    """Behind ticks of the host's, at no round that one could know, it is the guest that comes to its cpuid: its paging is off."""
    entry, tick, seen = t.symbol("svm_enter"), t.symbol("irq"), []

    def windows(client, _regs):
        for _ in range(WINDOWS):
            client.insert(tick)
            client.cont()
            client.remove(tick)
            client.insert(CPUID_AT)
            for _ in range(STOPS):
                client.cont()
                regs = client.regs()
                if regs["rip"] == CPUID_AT:
                    seen.append(regs["cr0"] & CR0_PG)
            client.remove(CPUID_AT)
        return True

    witness(t, [command], {entry: windows})
    t.check(seen, "the guest never came to its cpuid", f"rip {CPUID_AT:x}", "never")
    t.check(not any(seen), "the host itself executes code at the guest's address", "the guest, whose paging is off",
            f"paging on {sum(map(bool, seen))} of {len(seen)} times")


def rounds(t):
    """Ten thousand rounds: each one went through VMRUN, and the host is as it was."""
    count = t.rng.randrange(10_000, 11_000)
    command = f"first {count}"
    vmrun = Crossing(t).vmrun
    points = [t.symbol("svm_enter"), vmrun, CPUID_AT]
    run = t.boot(f"-- {command}; first; off", watch=points, limits=LIMITS)
    t.orderly(run)
    t.check(f"exit {count}: cpuid at {CPUID_AT:x}" in said(run, command), f"the guest does not come to its cpuid {count} times",
            f"exit {count}: cpuid at {CPUID_AT:x}", said(run, command))
    t.check("exit 1: cpuid" in said(run, "first"), "behind that nothing works any more", "exit 1", said(run, "first"))
    if not run.counts:
        raise Trouble("nothing counts instructions here: the TCG plugin is missing")
    times = [run.counts.watches.get(point, 0) for point in points]
    t.check(min(times[:2]) > count, "svm_enter() and its VMRUN have not run so often", f"{count + 1} times", times)
    t.check(times[2] > count, "the guest itself has not run so often: its cpuid", f"{count + 1} times", times[2])
    by_the_guest(t, f"first {2 * count}")


def spin(t):
    """A guest that never exits, with its own interrupts on and off: the host's interrupts bring it back, and the host goes on."""
    count = t.rng.randrange(4, 8)
    command = f"first {count} spin"
    run = t.boot(f"-- {command}; first; off", watch=[CODE_AT], limits=FEW)
    t.check(f"exit {count}: an interrupt of the host's at {CODE_AT:x}" in said(run, command), "a guest that never exits is "
            "not brought back by the host's interrupts", f"exit {count}: an interrupt of the host's at {CODE_AT:x}",
            said(run, command))
    t.check("exit 1: cpuid" in said(run, "first"), "behind a guest that never exits nothing works any more", "exit 1",
            said(run, "first"))
    t.orderly(run)
    if not run.counts:
        raise Trouble("nothing counts instructions here: the TCG plugin is missing")
    times = run.counts.watches.get(CODE_AT, 0)
    t.check(times > 1000 * count, "the guest that never exits has not run", f"more than {1000 * count} of its jumps", times)
