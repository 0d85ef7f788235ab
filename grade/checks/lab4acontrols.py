"""Lab 4A, exercise 4.4: what ends the guest's run.

Witnessed through Bochs' debugger: `launch N controls` enters a guest of the student's controls N times. Before each entry the
grader has other code in the guest's page, and behind it reads from the VMCS why the run ended. Each piece tries one thing,
and then touches memory that is not there, which ends a run whatever the controls say. What a made-up CPU has is decided at
each RDMSR of a capability MSR.
"""

import struct

from zeno.judging import headers
from zeno.judging.trial import Trouble

from .lab4 import CODE_AT, FLAG_IF, GPRS, RDMSR, STOPS, find_code, line_at, lines_of_their_own, said, to_return, witness, word
from .lab4astate import FIELD, IA32E, LMA, LME, NE, PAE, PG, VMXE, place
from .lab4sacontrols import (GDT, IDT, NESTED_FAULT, OSXSAVE, PAGE, RAN_ON, STACK, TRIED, Attempt, all_exit, attempts_of, mov,
                             none_exits, page_of)

NUMBERS = ("EXIT_REASON", "GUEST_PHYSICAL_ADDRESS", "PIN_CONTROLS", "GUEST_ACTIVITY", "GUEST_PENDING_DEBUG", "VMX_EPT_VIOLATION",
           "VMX_EXTERNAL_INTERRUPT", "VMX_PREEMPTION_TIMER", "VMX_TRIPLE_FAULT", "PIN_TIMER", "DIRECT_MAP")
NUMBER = dict(zip(NUMBERS, headers.numbers(("vmm/vmx/vmcs.h", "kern/map.h"), NUMBERS)))
CPUS = ("vmx", "vmx-old")
LONG_AT = 0x40
"""Where code begins in a page that is its own table, too."""
LONG_RAN_ON, LONG_CS = 0x202000, 0xA09B
GUEST_ROWS = ((0x210, 0x310), (0x610, 0x710), (0xA10, 0xB10), (0xE10, 0xF10))
"""Where Bochs has the guest's state in a VMCS."""
OTHERS = ("clgi", "stgi", "invlpga", "vmload", "vmrun", "vmsave", "skinit", "mov cr8, ecx")
"""Those of the other flavour that are nothing here."""
TRIED_HERE = tuple(one for one in TRIED if one[0] not in OTHERS) + (
    ("getsec", "0f37"), ("invept", "660f38800d" + "80032000"), ("swapgs in 64-bit code", "0f01f8"), ("vmcall", "0f01c1"),
    ("vmclear", "660fc735" + "80032000"), ("vmlaunch", "0f01c2"), ("vmptrld", "0fc735" + "80032000"), ("vmread", "0f78c1"),
    ("vmresume", "0f01c3"), ("vmwrite", "0f79c1"), ("vmxoff", "0f01c4"), ("vmxon", "f30fc735" + "80032000"),
    ("mov cr8, rcx in 64-bit code", "440f22c1"), ("mov rax, cr8 in 64-bit code", "440f20c0"),
    ("rdmsr of the base of FS", "0f32"), ("wrmsr to the base of GS", "0f30"), ("wrmsr to the base of swapgs", "0f30"),
    ("rdrand", "0fc7f0"))
ENDS_HERE = 0x3ffa8008dfe810094
"""Which of them end the run, a bit for each from 0 on: the exercise's answer, so it is not in words here."""
MUST = {0: 0x9, 1: 0x70980C80, 2: 0x40}
"""... and of three kinds of controls."""
CONTROLS = {0: (0x481, 0x48D), 1: (0x482, 0x48E), 2: (0x48B,)}
"""The MSRs that say what a CPU has of them."""
MAY_PASS = range(0xC0000080, 0xC0000105), range(0x174, 0x177)
"""EFER to TSC_AUX, SYSENTER: what goes and comes with the guest. Some pass in one solution, and exit in another."""


class Guest:
    """A boot of `launch N controls`, with another piece of code each time."""

    def __init__(self, t, attempts):
        self.t, self.attempts = t, attempts
        self.command = f"launch {2 * len(attempts)} controls"
        self.at, self.vmcs, self.page, self.given = 0, 0, 0, b""

    def get(self, raw, number):
        """A field of the VMCS."""
        at, size = place(number)
        return int.from_bytes(raw[at:at + size], "little")

    def put(self, raw, name, value, index=0):
        """... to be written."""
        at, size = place(FIELD.get(name, NUMBER.get(name, 0)) + 2 * index)
        raw[at:at + size] = value.to_bytes(size, "little")

    def begin(self, client):
        """At the first entry: what the VMCS has."""
        self.vmcs = client.param("cpu0.VMX")["vmcsptr"]
        self.given = client.read(self.vmcs, PAGE, physical=True)
        entry = self.get(self.given, FIELD["EPT_POINTER"])
        for index in (0, 0, CODE_AT >> 21, CODE_AT >> 12 & 511):
            entry, = struct.unpack("<Q", client.read((entry & 0xFFFFFFFFFF000) + 8 * index, 8, physical=True))
        self.page = entry & 0xFFFFFFFFFF000
        client.write(self.page, page_of(Attempt("", b"")), physical=True)

    def code(self, attempt):
        """The begin of the guest's page, and where its code begins in it."""
        if "64-bit" not in attempt.name:
            return page_of(attempt)[:0x80], 0
        code = attempt.before + attempt.code + b"\x8b\x04\x25" + struct.pack("<I", LONG_RAN_ON)
        return struct.pack("<3Q", CODE_AT | 7, CODE_AT | 7, RAN_ON | 7).ljust(LONG_AT, b"\0") + code.ljust(0x40, b"\0"), LONG_AT

    def store(self, client, regs, code):
        """The host's memcpy() puts the code there: Bochs does not see that a debugger changes what it has decoded."""
        scratch, back = (regs["rsp"] - 0x800) & ~15, regs["rip"]
        client.write(scratch, code)
        client.write(scratch - 8, struct.pack("<Q", back))
        for name, value in (("rdi", NUMBER["DIRECT_MAP"] + self.page), ("rsi", scratch), ("rdx", len(code)), ("rsp", scratch - 8),
                            ("rip", self.t.symbol("memcpy"))):
            client.set_reg(name, value)
        client.cont()
        if client.regs()["rip"] != back:
            raise Trouble("the host's memcpy() does not come back")
        for name in GPRS:
            client.set_reg(name, regs[name])

    def prepare(self, client, regs, attempt):
        """The guest's page and registers."""
        code, at = self.code(attempt)
        self.store(client, regs, code)
        now = client.read(self.vmcs, PAGE, physical=True)
        new = bytearray(now)
        for low, high in GUEST_ROWS:
            new[low:high] = self.given[low:high]
        values = {"GUEST_RIP": CODE_AT + at, "GUEST_RFLAGS": 2, "GUEST_RSP": STACK - 16, "GUEST_GDTR_LIMIT": 0x1F,
                  "GUEST_GDTR_BASE": GDT, "GUEST_IDTR_LIMIT": 0x187, "GUEST_IDTR_BASE": IDT, "GUEST_CR0": 0x11 | NE,
                  "GUEST_CR3": 0, "GUEST_CR4": VMXE, "GUEST_EFER": 0, "GUEST_INTERRUPTIBILITY": 0, "GUEST_ACTIVITY": 0,
                  "GUEST_PENDING_DEBUG": 0, "ENTRY_CONTROLS": self.get(now, FIELD["ENTRY_CONTROLS"]) & ~IA32E,
                  "PIN_CONTROLS": self.get(self.given, NUMBER["PIN_CONTROLS"])}
        if at:
            values |= {"GUEST_CR0": 0x11 | NE | PG, "GUEST_CR3": CODE_AT, "GUEST_CR4": VMXE | PAE, "GUEST_EFER": LME | LMA,
                       "GUEST_IDTR_LIMIT": 0, "ENTRY_CONTROLS": values["ENTRY_CONTROLS"] | IA32E}
            where, _ = place(FIELD["GUEST_ES_RIGHTS"] + 2)
            new[where:where + 4] = (LONG_CS << 8).to_bytes(4, "little")
        if attempt.name == "spin":
            values |= {"GUEST_RFLAGS": 2 | FLAG_IF, "PIN_CONTROLS": values["PIN_CONTROLS"] & ~NUMBER["PIN_TIMER"]}
        if attempt.name == "hlt":  # with IF=0 Bochs warns of a CPU that sleeps for ever before it looks at the controls
            values["GUEST_RFLAGS"] |= FLAG_IF
        for name, value in values.items():
            self.put(new, name, value)
        for at in range(0, PAGE, 4):
            if new[at:at + 4] != now[at:at + 4]:
                client.write(self.vmcs + at, bytes(new[at:at + 4]), physical=True)

    def enter(self, client, regs):
        """At vmx_enter: one attempt."""
        if not self.vmcs:
            self.begin(client)
        if self.at == len(self.attempts):
            return True
        attempt = self.attempts[self.at]
        self.prepare(client, regs, attempt)
        attempt.entered = True
        to_return(client, regs)
        raw = client.read(self.vmcs, PAGE, physical=True)
        reason = self.get(raw, NUMBER["EXIT_REASON"])
        rip = self.get(raw, FIELD["GUEST_RIP"])
        asleep = attempt.name == "spin" or self.get(raw, NUMBER["GUEST_ACTIVITY"])
        if reason in (NUMBER["VMX_EXTERNAL_INTERRUPT"], NUMBER["VMX_PREEMPTION_TIMER"]) and not asleep:
            return False  # the host's turn came first: once more
        self.at += 1
        attempt.rip, attempt.address = rip, self.get(raw, NUMBER["GUEST_PHYSICAL_ADDRESS"])
        attempt.exitcode = NESTED_FAULT if reason == NUMBER["VMX_EPT_VIOLATION"] else reason
        if "64-bit" in attempt.name:
            attempt.rip -= LONG_AT
            if reason == NUMBER["VMX_TRIPLE_FAULT"]:
                attempt.rip = 0
        return bool(reason >> 31)

    def run(self, **more):
        """Boot, and try all."""
        t = self.t
        run, _ = witness(t, [self.command], {t.symbol("vmx_enter"): self.enter}, **more)
        if not self.vmcs:
            t.orderly(run)
        t.check("not here" not in said(run, self.command), "a CPU that can end every run that has to end is turned down: yours is "
                "asked for more, which no guest needs", "vmx: on", said(run, self.command))
        t.check(self.vmcs, "nobody calls vmx_enter()", "one call", said(run, self.command))
        first = self.attempts[0]
        t.check(first.exitcode is not None and not first.exitcode >> 31 and "refuses" not in said(run, self.command),
                "the CPU refuses the VMCS", "a guest that runs", said(run, self.command)[-300:])
        return run


def these(t, ends):
    """Those that must end the run, or those that must not."""
    found = attempts_of(t, ends, TRIED_HERE, ENDS_HERE)
    for one in found:
        if "msr " in one.name:
            number = 0xC0000100 + next(n for n, word_ in enumerate(("FS", "GS", "swapgs")) if one.name.endswith(word_))
            one.before = mov("ecx", number) + mov("eax", 0x1000) + mov("edx", 0)
        if "64-bit" in one.name:
            one.before = mov("ecx", 0)
    return found


def on_both(t, ends, judge):
    """On each CPU model."""
    for cpu in CPUS:
        attempts = these(t, ends)
        judge(t, Guest(t, attempts).run(cpu=cpu), attempts, "" if cpu == "vmx" else " on an older CPU")


def must_exit(t):
    """All that is not the guest's own."""
    on_both(t, 1, all_exit)


def stays_in(t):
    """The guest's own."""
    on_both(t, 0, none_exits)


def maps(t):
    """Ports of all widths, and registers by number."""
    rng, attempts = t.rng, []
    for number in [*(rng.randrange(low, low + 0x4000) for low in range(0, 0x10000, 0x4000)), 0x60, 0x3F8, 0xFFFF]:
        for name, code in rng.sample((("al", "ec"), ("ax", "66ed"), ("eax", "ed")), 1 if number != 0xFFFF else 3):
            attempts.append(Attempt(f"in {name}, dx` with dx = {number:04x}, `", bytes.fromhex(code), mov("edx", number)))
    numbers = [first + rng.randrange(size) for first, size in ((0, 0x400), (0, 0x2000), (0xC0000000, 0x80), (0xC0000110, 0x1E00),
                                                               (0x40000000, 0x2000), (0xC0010000, 0x2000))]
    for number in [one for one in numbers if not any(one in some for some in MAY_PASS)] + [0x1B, 0x277, 0x3A, 0x480]:
        for name, code in (("rdmsr", "0f32"), ("wrmsr", "0f30")) if number != 0x10 else (("wrmsr", "0f30"),):
            attempts.append(Attempt(f"{name}` with ecx = {number:x}, `", bytes.fromhex(code),
                                    mov("ecx", number) + mov("eax", 0) + mov("edx", 0)))
    attempts.append(Attempt("wrmsr` with ecx = 10, `", bytes.fromhex("0f30"), mov("ecx", 0x10) + mov("eax", 0) + mov("edx", 0)))
    rng.shuffle(attempts)
    for one in attempts:
        one.name = one.name.removesuffix(", `")
    run = Guest(t, attempts).run()
    all_exit(t, run, attempts)
    t.orderly(run)


def hears(t):
    """The host's timer ticks while a guest runs whose own IF is 1; an NMI of the machine's."""
    attempts = [Attempt("spin", b"\xeb\xfe"), Attempt("cpuid", b"\x0f\xa2")]
    guest = Guest(t, attempts)
    run = guest.run()
    got = attempts[0]
    t.check(got.exitcode == NUMBER["VMX_EXTERNAL_INTERRUPT"], "the host's timer ticked while a guest ran, and the guest got it",
            "an exit", got.outcome() if got.exitcode is not None else run.detail)
    t.check(guest.get(guest.given, NUMBER["PIN_CONTROLS"]) >> 3 & 1, "an NMI of the machine's comes while a guest runs, and the "
            "guest gets it", "an exit", "none")
    t.orderly(run)


class MadeUp:
    """Calls of vmx_controls() and vmx_lacks_exit() on CPUs that have other controls than this one."""

    def __init__(self, t):
        self.t, self.rng = t, t.rng
        self.real, self.said = {}, {}
        own = min(t.symbol("vmx_controls"), t.symbol("vmx_lacks_exit"))
        self.reads = sorted({*find_code(t, RDMSR, t.symbol("vmx_choice"))[:4], *find_code(t, RDMSR, own)[:8]})
        self.values, self.lines, self.plain = [], [], {}

    def call(self, client, regs, function, argument=0):
        """What it gives back."""
        start, stack = regs["rip"], (regs["rsp"] - 0x800) & ~15
        client.write(stack - 8, struct.pack("<Q", start))
        for name, value in (("rsp", stack - 8), ("rdi", argument), ("rip", self.t.symbol(function))):
            client.set_reg(name, value)
        for _ in range(200 * STOPS):
            client.cont()
            now = client.regs()
            if now["rip"] == start:
                return now["rax"]
            number = now["rcx"] & 0xFFFFFFFF
            client.step()
            if number in self.said:
                client.set_reg("rax", self.said[number] & 0xFFFFFFFF)
                client.set_reg("rdx", self.said[number] >> 32)
            elif number in range(0x481, 0x492):
                now = client.regs()
                self.real[number] = now["rdx"] << 32 | now["rax"] & 0xFFFFFFFF
        return self.t.fail(f"{function}() does not come back", "an answer", "none")

    def cpu(self, which, ones=0, zeros=0):
        """A CPU that wants these bits at 1, and those at 0."""
        self.said = {number: (self.real[number] | ones | ones << 32) & ~(zeros << 32) for number in CONTROLS[which]
                     if number in self.real}

    def ask(self, client, regs):
        """At monitor_run."""
        for at in self.reads:
            client.insert(at)
        for which in CONTROLS:
            plain = self.call(client, regs, "vmx_controls", which) & 0xFFFFFFFF
            self.plain[which] = plain
            may = next(self.real[number] for number in CONTROLS[which] if number in self.real) >> 32
            free = [1 << bit for bit in range(32) if may >> bit & 1 and not plain >> bit & 1]
            for _ in range(3):
                ones = sum(self.rng.sample(free, min(3, len(free))))
                self.cpu(which, ones=ones)
                self.values.append((which, plain | ones, self.call(client, regs, "vmx_controls", which) & 0xFFFFFFFF))
            self.said = {}
        self.lines.append((None, self.line(client, regs)))
        for which, bits in MUST.items():
            for bit in range(32):
                if (bits & self.plain[which]) >> bit & 1:
                    self.cpu(which, zeros=1 << bit)
                    self.lines.append((f"no bit {bit} of {('pin-based', 'primary', 'secondary')[which]} controls",
                                       self.line(client, regs)))
        self.cpu(1, zeros=1 << self.rng.choice((9, 12, 25, 27)))
        self.lines.append((None, self.line(client, regs)))
        for at in self.reads:
            client.remove(at)
        for name in (*GPRS, "rip"):
            client.set_reg(name, regs[name])
        return True

    def line(self, client, regs):
        """What vmx_lacks_exit() says, or None."""
        at = self.call(client, regs, "vmx_lacks_exit")
        return line_at(client, at) if at else None


def made_up(t):
    """What each CPU insists on, and what it lacks."""
    one = MadeUp(t)
    run, _ = witness(t, ["engines"], {t.symbol("monitor_run"): one.ask})
    if not one.values:
        t.orderly(run)
        raise Trouble("the monitor never ran")
    for which, wanted, got in one.values:
        t.check(not wanted & ~got, "a CPU insists on a control, and would refuse the VMCS that does not have it", f"{wanted:#x}",
                f"{got:#x}")
        t.check(wanted == got, "a CPU gets other controls than what it insists on and what must exit", f"{wanted:#x}", f"{got:#x}")
    t.check(len(one.lines) > 3, "no control ends a run", "some", "none")
    lines_of_their_own(t, one.lines, "vmx_lacks_exit", "VT-x")
    t.orderly(run)
