"""Lab 4sA, exercise 4s.4: what ends the guest's run.

Witnessed through QEMU's GDB stub: `first N controls` enters a guest of the student's controls N times. Before each entry the
grader writes another piece of code into the guest's page, and behind it reads from the VMCB why the run ended. Each piece
tries one thing, and then touches memory that is not there, which ends a run whatever the controls say.
"""

import struct
from dataclasses import dataclass

from zeno.judging import headers
from zeno.judging.trial import Trouble
from zeno.machines import machine

from .lab4 import CODE_AT, FLAG_IF, STOPS, said
from .lab4sa import no_ticks

FIELDS = ("exitcode", "exitinfo2", "rip", "rflags", "rsp", "rax", "n_cr3", "asid", "np_enable", "vintr", "iopm_base",
          "msrpm_base", "intercepts", "gdtr.limit", "gdtr.base", "idtr.limit", "idtr.base", "cr0", "cr3", "cr4")
VMCB = dict(zip(FIELDS, headers.numbers(("vmm/svm/vmcb.h",), [f"offsetof(struct vmcb, {name})" for name in FIELDS])))
INIT, SHUTDOWN, EXIT_INTR, EXIT_NMI, EXIT_SHUTDOWN = headers.numbers(("vmm/svm/vmcb.h",), (
    "SVM_INIT", "SVM_SHUTDOWN", "SVM_EXIT_FIRST + SVM_INTR", "SVM_EXIT_FIRST + SVM_NMI", "SVM_EXIT_FIRST + SVM_SHUTDOWN"))
NESTED_FAULT, REFUSED, OSXSAVE = 0x400, 0xFFFFFFFF, 1 << 18
FEW = machine.Limits(instructions=150_000_000, console_bytes=1 << 20, side_bytes=16 << 20)
PAGE, STACK = 4096, CODE_AT + 4096
MEMORY, HANDLERS, GDT, IDT, BACK = (CODE_AT + at for at in (0x380, 0x400, 0x600, 0x800, 0x5C0))
RAN_ON, FAULTED = 0x310000, 0x320000
"""Where the guest has no memory: behind what it tried, and in the handler of each exception, 4 bytes apart."""
DESCRIPTORS = (0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0x0000890000000067 | (CODE_AT & 0xFFFFFF) << 16)
CPUS = ("svm", "svm-old")


def mov(register, value):
    """mov r32, imm32"""
    return bytes([0xB8 + ("eax", "ecx", "edx", "ebx").index(register)]) + struct.pack("<I", value & 0xFFFFFFFF)


def to(code):
    """An instruction with an address behind it: the guest's spare memory."""
    return bytes.fromhex(code) + struct.pack("<I", MEMORY)


TRIED = (
    ("clgi", "0f01dd"), ("cli", "fa"), ("clts", "0f06"), ("cpuid", "0fa2"), ("div by 0", "f7f1"), ("hlt", "f4"),
    ("int 30", "cd30"), ("int3", "cc"), ("invd", "0f08"), ("invlpg", to("0f013d")), ("invlpga", "0f01df"), ("lar", "0f02c2"),
    ("lgdt", to("0f0115")), ("lidt", to("0f011d")), ("lldt", "0f00d1"), ("lmsw", "0f01f0"), ("lsl", "0f03c2"),
    ("ltr", "0f00db"), ("monitor", "0f01c8"), ("mov cr0, eax", "0f22c0"), ("mov eax, cr0", "0f20c0"),
    ("mov cr2, eax", "0f22d0"), ("mov eax, cr2", "0f20d0"), ("mov cr3, eax", "0f22d8"), ("mov eax, cr3", "0f20d8"),
    ("mov cr4, ecx", "0f22e1"), ("mov eax, cr4", "0f20e0"), ("mov cr8, ecx", "f00f22c1"),
    ("mov dr0, eax", "0f23c0"), ("mov dr1, eax", "0f23c8"), ("mov dr2, eax", "0f23d0"), ("mov dr3, eax", "0f23d8"),
    ("mov dr5, ecx", "0f23e9"), ("mov eax, dr5", "0f21e8"), ("mov dr7, ecx", "0f23f9"), ("mov eax, dr7", "0f21f8"),
    ("mov es, dx", "8ec2"), ("mwait", "0f01c9"), ("pause", "f390"), ("popf", "9d"), ("push es", "06"),
    ("pushf", "9c"), ("rdpmc", "0f33"), ("rdtsc", "0f31"), ("rdtscp", "0f01f9"),
    ("sgdt", to("0f0105")), ("sidt", to("0f010d")), ("skinit", "0f01de"), ("sldt", "0f00c0"), ("smsw", "0f01e0"),
    ("stgi", "0f01dc"), ("sti", "fb"), ("str", "0f00c8"), ("ud2", "0f0b"), ("verr", "0f00e2"), ("verw", "0f00ea"),
    ("vmload", "0f01da"), ("vmrun", "0f01d8"), ("vmsave", "0f01db"), ("wbinvd", "0f09"))
"""What a guest tries, and how it is encoded: eax and ecx mostly 0, dx a data segment, bx a TSS. DR5 is DR7 once more (APM 2
13.1.1). A read of CR8 is not among them: it finds V_TPR, which svm.c keeps, and so may exit or not."""
ENDS = 0xf04846ffa040529
"""Which of them end the run, a bit for each from 0 on: the exercise's answer, so it is not in words here."""


@dataclass
class Attempt:
    """A piece of code, and what came of it."""

    name: str
    code: bytes
    before: bytes = b""
    entered: bool = False
    exitcode: int = None
    rip: int = 0
    address: int = 0

    @property
    def at(self):
        """Where the instruction is."""
        return CODE_AT + len(self.before)

    def outcome(self):
        """exit: the instruction ended the run. ran, fault: it did not."""
        if self.exitcode is None:
            return "never came back"
        if self.exitcode == NESTED_FAULT and self.address == RAN_ON:
            return "ran"
        if self.exitcode == NESTED_FAULT and FAULTED <= self.address < FAULTED + 128:
            return f"fault {(self.address - FAULTED) // 4}"
        return "exit" if self.rip == self.at else f"exit {self.exitcode:x} at {self.rip:x}"


def gate(offset):
    """An interrupt gate of 32 bits."""
    return struct.pack("<HHHH", offset & 0xFFFF, 8, 0x8E00, offset >> 16)


def page_of(attempt):
    """The guest's only page."""
    page = bytearray(PAGE)
    code = attempt.before + attempt.code + b"\xa1" + struct.pack("<I", RAN_ON)
    page[:len(code)] = code
    page[MEMORY - CODE_AT:MEMORY - CODE_AT + 6] = struct.pack("<HI", 0x1F, GDT)
    for vector in range(32):
        at = HANDLERS - CODE_AT + 5 * vector
        page[at:at + 5] = b"\xa1" + struct.pack("<I", FAULTED + 4 * vector)
        page[IDT - CODE_AT + 8 * vector:IDT - CODE_AT + 8 * vector + 8] = gate(HANDLERS + 5 * vector)
    page[IDT - CODE_AT + 8 * 0x30:IDT - CODE_AT + 8 * 0x31] = gate(BACK)
    page[BACK - CODE_AT] = 0xCF
    page[GDT - CODE_AT:GDT - CODE_AT + 32] = struct.pack("<4Q", *DESCRIPTORS)
    return bytes(page)


class Guest:
    """A boot of `first N controls`, with another piece of code each time."""

    def __init__(self, t, attempts):
        self.t, self.attempts = t, attempts
        self.command = f"first {len(attempts)} controls"
        self.at, self.vmcb, self.page, self.controls = 0, 0, 0, {}

    def number(self, client, name, size=8):
        """A field of the VMCB."""
        return int.from_bytes(client.read(self.vmcb + VMCB[name], size, physical=True), "little")

    def put(self, client, name, value, size=8):
        """... written."""
        client.write(self.vmcb + VMCB[name], value.to_bytes(size, "little"), physical=True)

    def find_page(self, client):
        """The machine address of the guest's page, by the nested tables."""
        entry = self.number(client, "n_cr3")
        for index in (0, 0, CODE_AT >> 21, CODE_AT >> 12 & 511):
            table = entry & 0xFFFFFFFFFF000
            entry, = struct.unpack("<Q", client.read(table + 8 * index, 8, physical=True))
        return entry & 0xFFFFFFFFFF000

    def begin(self, client, regs):
        """At the first entry: what the VMCB has."""
        no_ticks(client)
        self.vmcb = regs["rsi"]
        self.controls = {name: self.number(client, name, 4 if name == "asid" else 8)
                         for name in ("asid", "np_enable", "vintr", "iopm_base", "msrpm_base", "intercepts")}
        self.page = self.find_page(client) if self.controls["np_enable"] & 1 else 0
        return bool(self.page)

    def prepare(self, client, attempt):
        """The guest's page and registers."""
        client.write(self.page, page_of(attempt), physical=True)
        for name, value, size in (("rip", CODE_AT, 8), ("rflags", 2, 8), ("rsp", STACK - 16, 8), ("gdtr.limit", 0x1F, 4),
                                  ("gdtr.base", GDT, 8), ("idtr.limit", 0x187, 4), ("idtr.base", IDT, 8), ("cr0", 0x11, 8),
                                  ("cr3", 0, 8), ("cr4", 0, 8)):
            self.put(client, name, value, size)

    def enter(self, client, regs):
        """At svm_enter: one attempt."""
        if not self.vmcb and not self.begin(client, regs):
            return True
        if self.at == len(self.attempts):
            return True
        attempt = self.attempts[self.at]
        self.at += 1
        back, = struct.unpack("<Q", client.read(regs["rsp"], 8))
        self.prepare(client, attempt)
        attempt.entered = True
        client.insert(back)
        for _ in range(STOPS):
            client.cont()
            if client.regs()["rip"] == back:
                break
        client.remove(back)
        attempt.exitcode, attempt.rip = self.number(client, "exitcode") & 0xFFFFFFFF, self.number(client, "rip")
        attempt.address = self.number(client, "exitinfo2")
        return attempt.exitcode == REFUSED

    def run(self, **more):
        """Boot, and try all."""
        t = self.t
        run, _ = t.witness(f"-- {self.command}; off", {t.symbol("svm_enter"): self.enter}, limits=FEW, **more)
        if not self.vmcb:
            t.orderly(run)
        t.check(self.vmcb, "nobody calls svm_enter()", "one call", said(run, self.command))
        t.check(self.controls["np_enable"] & 1, "what the guest takes for its memory is the machine's: no second set of tables "
                "translates it", "nested paging", "none")
        first = self.attempts[0]
        t.check(first.exitcode != REFUSED, "the CPU refuses the VMCB", "a guest that runs", said(run, self.command))
        return run


def attempts_of(t, ends, tried=TRIED, answer=ENDS):
    """Those that must end the run, or those that must not, in a random order."""
    found = []
    for number, (name, code) in enumerate(tried):
        if ends == answer >> number & 1:
            before = mov("eax", 0x11 if "cr0" in name else 1 if name == "lmsw" else 0)
            before += mov("ecx", 0x400 if name in ("mov dr5, ecx", "mov dr7, ecx") else OSXSAVE if "cr4" in name else 0)
            before += mov("edx", 0x10) + mov("ebx", 0x18)
            if name in ("invlpga", "monitor", "vmload", "vmrun", "vmsave", "skinit"):
                before += mov("eax", CODE_AT) + mov("edx", 0) * (name == "monitor")
            if name == "popf":
                before += b"\x9c"
            found.append(Attempt(name, code if isinstance(code, bytes) else bytes.fromhex(code), before))
    t.rng.shuffle(found)
    return found


def all_exit(t, run, attempts, where=""):
    """Each of them ended the run at its own instruction."""
    for one in attempts:
        if not one.entered:
            t.orderly(run)
            raise Trouble(f"`{one.name}` was not tried")
        got = one.outcome()
        if got == "never came back":
            t.check(False, f"the guest executes `{one.name}`{where}, and the host never runs again", "an exit", run.detail or got)
        t.check(not got.startswith("exit ") or one.rip >= one.at, f"the guest's run ends before its `{one.name}`{where}, at what is its "
                "own affair", "no exit before", got)
        t.check(got == "exit", f"the guest executes `{one.name}`{where}, and Zeno does not hear of it", "an exit", got)


def on_both(t, ends, judge):
    """On each CPU model."""
    for cpu in CPUS:
        attempts = attempts_of(t, ends)
        run = Guest(t, attempts).run(cpu=cpu)
        judge(run, attempts, "" if cpu == "svm" else " on an older CPU")


def must_exit(t):
    """All that is not the guest's own."""
    on_both(t, 1, lambda run, attempts, where: all_exit(t, run, attempts, where))


def none_exits(t, run, attempts, where):
    """None of them ended the run."""
    for one in attempts:
        if not one.entered or one.exitcode is None:
            t.orderly(run)
            raise Trouble(f"`{one.name}` was not tried")
        got = one.outcome()
        t.check(got == "ran" or got.startswith("fault"), f"the guest executes `{one.name}`{where}, which is its own affair, and "
                "its run ends", "no exit", got)
    costs = sum(one.outcome() == "ran" for one in attempts)
    t.notes.append(f"{costs} of {len(attempts)} kinds of instructions ran without an exit")


def stays_in(t):
    """The guest's own."""
    on_both(t, 0, lambda run, attempts, where: none_exits(t, run, attempts, where))


def maps(t):
    """Ports of all widths, and registers by number."""
    rng, attempts = t.rng, []
    for number in [*(rng.randrange(low, low + 0x2000) for low in range(0, 0x10000, 0x2000)), 0, 0x60, 0x3F8, 0xFFFF]:
        for name, code in rng.sample((("al", "ec"), ("ax", "66ed"), ("eax", "ed")), 1 if number != 0xFFFF else 3):
            attempts.append(Attempt(f"in {name}, dx` with dx = {number:04x}, `", bytes.fromhex(code), mov("edx", number)))
    for first in (0, 0, 0xC0000000, 0xC0010000, 0x40000000):
        for name, code in (("rdmsr", "0f32"), ("wrmsr", "0f30")):
            number = rng.choice((first + rng.randrange(0x2000), first + rng.randrange(0x400)))
            attempts.append(Attempt(f"{name}` with ecx = {number:x}, `", bytes.fromhex(code),
                                    mov("ecx", number) + mov("eax", 0) + mov("edx", 0)))
    for number in (0x10, 0x277, 0xC0000080, 0xC0000082, 0xC0010114, 0xC0010117):
        attempts.append(Attempt(f"rdmsr` with ecx = {number:x}, `", bytes.fromhex("0f32"), mov("ecx", number)))
    rng.shuffle(attempts)
    for one in attempts:
        one.name = one.name.removesuffix(", `")
    guest = Guest(t, attempts)
    run = guest.run()
    all_exit(t, run, attempts)
    t.orderly(run)


class Waiting(Guest):
    """A guest that spins, and one that dies."""

    def begin(self, client, regs):
        found = super().begin(client, regs)
        client.monitor("o /b 0x21 0xfe")
        return found

    def prepare(self, client, attempt):
        super().prepare(client, attempt)
        if attempt.name.startswith("spin"):
            self.put(client, "rflags", 2 | FLAG_IF * attempt.name.endswith("1"))
            client.monitor("o /b 0x21 0xfe")
        else:
            no_ticks(client)
        if attempt.name == "NMI":
            client.insert(CODE_AT)
            client.cont()
            client.monitor("nmi")
            client.remove(CODE_AT)
        if attempt.name == "dies":
            self.put(client, "idtr.limit", 0, 4)


def hears(t):
    """Timer, NMI, INIT, triple fault."""
    spin = bytes.fromhex("ebfe")
    attempts = [Attempt(f"spin {flag}", spin) for flag in t.rng.sample((0, 1), 2)]
    attempts += [Attempt("NMI", spin), Attempt("dies", b"\x0f\x0b")]
    guest = Waiting(t, attempts)
    run = guest.run()
    for one in attempts[:2]:
        who = f"a guest that spins with IF={one.name[-1]}"
        t.check(one.exitcode is not None, f"{who} has the machine for ever: the host's timer does not end its run", "an exit",
                run.detail)
        t.check(one.exitcode == EXIT_INTR, f"the host's timer ticked while {who} ran, and the guest got it", "an exit", one.outcome())
    nmi, dies = attempts[2:]
    t.check(nmi.exitcode == EXIT_NMI, "an NMI of the machine's came while a guest ran, and the guest got it", "an exit",
            nmi.outcome())
    t.check(guest.controls["intercepts"] >> INIT & 1, "an INIT of the machine's would reset the CPU under a guest that runs",
            "an exit", "none")
    # This CPU of QEMU's makes an exit of it, whatever the VMCB says; others go down.
    t.check(dies.exitcode == EXIT_SHUTDOWN and guest.controls["intercepts"] >> SHUTDOWN & 1, "a guest takes a triple fault, and "
            "the machine goes down with it", "an exit", dies.outcome())
    t.orderly(run)
