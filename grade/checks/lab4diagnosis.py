"""Exercises 4.8 and 4s.8: five patients of a person's own, and what each of them has.

The grader has no key. It runs each patient as it is, and once more with the student's value in the student's field, and
looks from outside: at what the CPU was given, at each exit, at the patient's last instruction, and at its memory, into
which it has put random bytes that the patient must copy. Right is a value with which the patient does all of its work;
the evidence is the first exit that the two runs do not share. How many are right is told, and not which.
"""

import re
import struct
from dataclasses import dataclass, field

from zeno.judging import headers
from zeno.judging.trial import Trouble

from .guests import LIMITS

PATIENTS = 5
BYTES_MAX = 16 << 10
KEY = re.compile(r"\s*([a-z0-9.]+)\s*:\s*(.*?)\s*$")
NAME = re.compile(r"[a-z0-9._-]{2,32}\Z")
FIELD = re.compile(r"[a-z][a-z0-9_.\[\]]{1,30}\Z")
PARTS = ("field", "value", "exit")
MEMORY, WIDE, LINEAR, BASE, CODE, CARD = headers.numbers(("trials/diagnosis/patient.h",), (
    *(f"offsetof(struct patient, {name})" for name in ("memory", "wide", "linear", "base")), "PAGE_CODE", "PAGE_CARD"))
TEXT, COPY, CALLS, EVENTS = headers.numbers(("trials/diagnosis/patient.h",), tuple(
    f"offsetof(struct card, {name})" for name in ("text", "copy", "calls", "events")))
MARKS = {False: 5, True: 6}


# -- what the student says ----------------------------------------------------------------------------


@dataclass
class Said:
    """One patient's three lines; what can't be read in them is `wrong`."""
    field: str = ""
    value: int = 0
    exit: tuple = ()
    wrong: str = ""


def answers(t, flavour):
    """(name, [Said])."""
    raw = t.image.files.get("diagnosis.txt")
    t.check(raw is not None, "diagnosis.txt is not there", "a file diagnosis.txt in the lab's folder", "none")
    t.check(len(raw) <= BYTES_MAX, "diagnosis.txt is too long", f"{BYTES_MAX} bytes at most", f"{len(raw)} bytes")
    found = {}
    for text in raw.decode("utf-8", "replace").splitlines():
        match = KEY.match(text)
        if not match or text.lstrip().startswith("#"):
            continue
        t.check(match[1] not in found, f"diagnosis.txt has two lines for `{match[1]}:`", "one", "two")
        found[match[1]] = match[2]
    name = found.get("name", "")
    t.check(name, "diagnosis.txt has no name behind `name:`", "name: something of your own", "nothing")
    t.check(NAME.match(name), "the name in diagnosis.txt is none", "2 to 32 characters of a-z 0-9 . - _", name)
    return name, [one_answer(number, [found.get(f"{number}.{part}", "") for part in PARTS], flavour)
                  for number in range(1, PATIENTS + 1)]


def one_answer(number, texts, flavour):
    """What three lines say, or why they say nothing."""
    missing = [f"{number}.{part}:" for part, text in zip(PARTS, texts) if not text]
    if missing:
        return Said(wrong=f"nothing stands behind `{missing[0]}`")
    name, number_text, exit_text = texts
    if not FIELD.match(name.lower()):
        return Said(wrong=f"what stands behind `{number}.field:` is no field's name")
    try:
        value = int(number_text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        return Said(wrong=f"what stands behind `{number}.value:` is no number: hexadecimal (0x1f) or decimal")
    match = flavour.line.search(exit_text)
    if not match:
        return Said(wrong=f"what stands behind `{number}.exit:` is no line of an exit that `{flavour.command}` prints")
    return Said(name.lower(), value, tuple(int(one, flavour.bases.get(at, 16)) for at, one in enumerate(match.groups())))


# -- what the patient does ----------------------------------------------------------------------------


@dataclass
class Seen:
    """One run of one patient."""
    number: int
    given: bytes = b""  # what the CPU has, before the first entry
    wide: bool = False
    end: int = 0  # its last instruction, as a linear address
    end_rip: int = 0
    nonce: bytes = b""
    exits: list = field(default_factory=list)
    marks: list = field(default_factory=list)
    reached: bool = False
    copied: bool = False


class Watcher:
    """Runs of patients, seen from outside. `flavour` has what differs between AMD-V and VT-x."""

    def __init__(self, t, flavour):
        self.t, self.flavour, self.runs = t, flavour, []
        start = {wide: t.symbol(f"work{32 << wide}") for wide in (False, True)}
        self.last = {wide: t.symbol(f"work{32 << wide}_end") - start[wide] for wide in (False, True)}

    def look(self, client, regs):
        """At ill_look() or sick_look(): a patient is about to run, or has come back."""
        patient, exits = regs["rsi"], regs["rcx"] & 0xFFFFFFFF
        if not exits:
            self.begins(client, regs, patient)
        elif self.runs and exits == len(self.runs[-1].exits) + 1:
            one = self.runs[-1]
            exited, mark = self.flavour.exit(client, regs["rdi"])
            one.exits.append(exited)
            if mark is not None:
                one.marks.append(mark)
            one.copied = self.done(client, patient, one)
        return False

    def page(self, client, patient, page):
        """Where Zeno has one of the patient's pages."""
        return struct.unpack("<Q", client.read(patient + MEMORY + 8 * page, 8))[0]

    def begins(self, client, regs, patient):
        """Its first entry: what it is given, and new bytes for it to copy."""
        one = Seen(regs["rdx"] & 0xFFFFFFFF, self.flavour.given(client, regs["rdi"]))
        one.wide = bool(client.read(patient + WIDE, 1)[0])
        linear, = struct.unpack("<Q", client.read(patient + LINEAR, 8))
        base, = struct.unpack("<Q", client.read(patient + BASE, 8))
        one.end = linear + self.last[one.wide]
        one.end_rip = one.end - base
        one.nonce = self.t.rng.randbytes(16)
        client.write(self.page(client, patient, CARD) + TEXT, one.nonce)
        self.runs.append(one)

    def done(self, client, patient, one):
        """All that its work leaves in its memory."""
        card = self.page(client, patient, CARD)
        counts = [struct.unpack("<Q", client.read(card + at, 8))[0] for at in (CALLS, EVENTS)]
        return client.read(card + COPY, 16) == one.nonce and counts == [1, 1]

    def watch(self, commands, ends=()):
        """Boot, with these commands. `ends`: last instructions, by linear address, which the stub takes, and by rip, which
        it says."""
        t, self.runs = self.t, []

        def last(_client, regs):
            if self.runs and regs["rip"] in (self.runs[-1].end, self.runs[-1].end_rip):
                self.runs[-1].reached = True
            return False

        run, _ = t.witness("-- " + "; ".join([*commands, "off"]),
                           {**dict.fromkeys(ends, last), t.symbol(self.flavour.look): self.look}, limits=LIMITS)
        t.orderly(run)
        return self.runs


def is_well(flavour, one):
    """It has done all of its work, and its last instruction is what ended its run."""
    return (one.reached and one.copied and one.marks == list(range(1, MARKS[one.wide] + 1))
            and flavour.ends(one.exits[-1], one.end_rip))


def evidence(ill, well):
    """The first exit of the ill one that the healthy one has not."""
    for number, one in enumerate(ill.exits):
        if number >= len(well.exits) or well.exits[number] != one:
            return one
    return None


def right_ones(t, flavour):
    """(How many are right, [what can't be read])."""
    name, said = answers(t, flavour)
    command = f"{flavour.command} {name}"
    watcher = Watcher(t, flavour)
    ill = watcher.watch([f"{command} {number}" for number in range(1, PATIENTS + 1)])
    if [one.number for one in ill] != list(range(1, PATIENTS + 1)):
        t.fail(f"`{flavour.command}` does not run its five patients", "five runs", f"{len(ill)} runs")
    readable = [(number, one) for number, one in enumerate(said, 1) if not one.wrong and flavour.has(one.field)]
    wrong = [one.wrong or f"no field is called {one.field}" for number, one in enumerate(said, 1)
             if (number, one) not in readable]
    cured = watcher.watch([f"{command} {number} {one.field} {one.value:#x}" for number, one in readable],
                          {at for number, _ in readable for at in (ill[number - 1].end, ill[number - 1].end_rip)}
                          ) if readable else []
    by_number = {one.number: one for one in cured}
    right = 0
    for number, one in readable:
        before, after = ill[number - 1], by_number.get(number)
        if after is None or not after.exits or not flavour.same_but(before.given, after.given, one.field):
            continue
        if is_well(flavour, before):
            raise Trouble(f"patient {number} of {name} is well")
        right += is_well(flavour, after) and evidence(before, after) == one.exit
    return right, wrong


def at_least(flavour, wanted):
    """The check for so many of five."""
    def check(t):
        right, wrong = right_ones(t, flavour())
        more = f"; {wrong[0]}" if wrong else ""
        t.check(right >= wanted, f"{right} of {PATIENTS} are right{more}", f"{wanted} of {PATIENTS}, or more",
                f"{right} of {PATIENTS}")
    check.__doc__ = f"At least {wanted} of the five are right."
    return check


# -- AMD-V --------------------------------------------------------------------------------------------

VMCB = VMCS = 4096
VMCB_HEADER = "vmm/svm/vmcb.h"


class Svm:
    """The VMCB is a page in memory."""

    command, look, bases = "ill", "ill_look", {}
    line = re.compile(r"exitcode ([0-9a-f]+), exitinfo1 ([0-9a-f]+), exitinfo2 ([0-9a-f]+), rip ([0-9a-f]+)")
    HLT, IOIO, PORT, IN = 0x78, 0x7B, 0x80, 1

    def __init__(self):
        names = ("exitcode", "exitinfo1", "exitinfo2", "rip", "rax")
        self.at = dict(zip(names, headers.numbers((VMCB_HEADER,), tuple(f"offsetof(struct vmcb, {name})" for name in names))))

    def given(self, client, vmcb):
        """What the CPU is given."""
        return client.read(vmcb, VMCB)

    def exit(self, client, vmcb):
        """((exitcode, exitinfo1, exitinfo2, rip), the mark that was made or None). Behind a mark Zeno has not moved rip yet."""
        raw = client.read(vmcb, VMCB)
        code, one, two, rip, rax = (struct.unpack_from("<Q", raw, at)[0] for at in self.at.values())
        code &= 0xFFFFFFFF
        is_mark = code == self.IOIO and one >> 16 & 0xFFFF == self.PORT and not one & self.IN
        return (code, one, two, rip), rax & 0xFF if is_mark else None

    def ends(self, exited, rip):
        """Its hlt."""
        return exited[0] == self.HLT and exited[3] == rip

    def place(self, name):
        """Where a field is: (offset, size); None: there is none."""
        try:
            return tuple(headers.numbers((VMCB_HEADER,), (f"offsetof(struct vmcb, {name})",
                                                          f"sizeof(((struct vmcb *)0)->{name})")))
        except RuntimeError:
            return None

    def has(self, name):
        """It is one field of the VMCB, and not several."""
        place = self.place(name)
        return place is not None and place[1] <= 8

    def same_but(self, before, after, name):
        """The two VMCBs differ in no other field."""
        at, size = self.place(name)
        return before[:at] == after[:at] and before[at + size:] == after[at + size:]


svm_one, svm_two, svm_three, svm_four, svm_five = (at_least(Svm, wanted) for wanted in range(1, PATIENTS + 1))


# -- VT-x ---------------------------------------------------------------------------------------------


class Vmx:
    """What is in a VMCS only the CPU can say: of an exit the grader looks at what Zeno has read. How Bochs keeps it is known:
    eight bytes for each field."""

    command, look, bases = "sick", "sick_look", {0: 10}
    line = re.compile(r"reason (\d+), qualification ([0-9a-f]+), event ([0-9a-f]+), error ([0-9a-f]+), "
                      r"address ([0-9a-f]+), rip ([0-9a-f]+)")
    HLT, IO, PORT, IN = 12, 30, 0x80, 1 << 3

    def given(self, client, _exit):
        """The page of the VMCS that is current."""
        return client.read(client.param("cpu0.VMX")["vmcsptr"], VMCS, physical=True)

    def exit(self, client, place):
        """((reason, qualification, event, error, address, rip), the mark that was made or None)."""
        *exited, rax = struct.unpack("<7Q", client.read(place, 56))
        reason, qualification = exited[:2]
        is_mark = reason == self.IO and qualification >> 16 & 0xFFFF == self.PORT and not qualification & self.IN
        return tuple(exited), rax & 0xFF if is_mark else None

    def ends(self, exited, rip):
        """Its hlt."""
        return exited[0] == self.HLT and exited[-1] == rip

    def has(self, _name):
        """The kernel knows fields by the names that it gives them."""
        return True

    def same_but(self, before, after, _name):
        """The two differ in one field."""
        return len({at // 8 for at in range(VMCS) if before[at] != after[at]}) == 1


vmx_one, vmx_two, vmx_three, vmx_four, vmx_five = (at_least(Vmx, wanted) for wanted in range(1, PATIENTS + 1))
