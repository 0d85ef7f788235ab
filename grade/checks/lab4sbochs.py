"""Lab 4sA, exercise 4s.4, where QEMU's AMD-V has no intercept: a change of tasks, and XSETBV.

Witnessed through Bochs' debugger, as lab4sacontrols.py does it through QEMU's: `first N controls` enters a guest of the
student's controls N times, with another piece of code each time, and the VMCB says why the run ended.
"""

import struct

from zeno.judging import headers
from zeno.judging.trial import Trouble

from . import lab4acontrols, lab4sacontrols
from .lab4 import STOPS, to_return, witness
from .lab4sacontrols import CODE_AT, EXIT_INTR, GDT, IDT, NESTED_FAULT, OSXSAVE, PAGE, RAN_ON, REFUSED, Attempt, mov, page_of

TASK_SWITCH, XSETBV, CPUID = headers.numbers(("vmm/svm/vmcb.h",), (
    "SVM_EXIT_FIRST + SVM_TASK_SWITCH", "SVM_EXIT_FIRST + SVM_XSETBV", "SVM_EXIT_FIRST + SVM_CPUID"))
TASK_GATE, TSS = 0x2F, 0x18
CODE_BYTES = 0x80
"""Of the guest's page these are another attempt's each time."""
TRIES = (
    ("jmp to a TSS", b"\xea" + struct.pack("<IH", 0, TSS), TASK_SWITCH),
    ("call of a TSS", b"\x9a" + struct.pack("<IH", 0, TSS), TASK_SWITCH),
    ("int n through a task gate", bytes([0xCD, TASK_GATE]), TASK_SWITCH),
    ("xsetbv", b"\x0f\x01\xd1", XSETBV),
    ("cpuid", b"\x0f\xa2", CPUID),
)
"""What the guest tries, and the exit that must come of it."""


class Guest(lab4sacontrols.Guest):
    """On Bochs: what has been decoded is not seen to change, and the host's ticks can't be masked from outside."""

    store = lab4acontrols.Guest.store

    def begin(self, client, regs):
        self.vmcb = regs["rsi"]
        self.controls = {"np_enable": self.number(client, "np_enable")}
        self.page = self.find_page(client) if self.controls["np_enable"] & 1 else 0
        if self.page:
            page = bytearray(page_of(Attempt("", b"")))
            at = IDT - CODE_AT + 8 * TASK_GATE
            page[at:at + 8] = struct.pack("<HHHH", 0, TSS, 0x8500, 0)
            client.write(self.page, bytes(page), physical=True)
        return bool(self.page)

    def prepare(self, client, attempt):
        for name, value, size in (("rip", CODE_AT, 8), ("rflags", 2, 8), ("rsp", CODE_AT + PAGE - 16, 8), ("gdtr.limit", 0x1F, 4),
                                  ("gdtr.base", GDT, 8), ("idtr.limit", 0x187, 4), ("idtr.base", IDT, 8), ("cr0", 0x11, 8),
                                  ("cr3", 0, 8), ("cr4", OSXSAVE, 8)):
            self.put(client, name, value, size)

    def enter(self, client, regs):
        """At svm_enter: one attempt, or once more one before which the host's turn came."""
        if not self.vmcb and not self.begin(client, regs):
            return True
        if self.at == len(self.attempts):
            return True
        attempt = self.attempts[self.at]
        self.store(client, regs, page_of(attempt)[:CODE_BYTES])
        self.prepare(client, attempt)
        attempt.entered = True
        for _ in range(STOPS):
            if to_return(client, regs):
                break
        attempt.exitcode, attempt.rip = self.number(client, "exitcode") & 0xFFFFFFFF, self.number(client, "rip")
        attempt.address = self.number(client, "exitinfo2")
        self.at += attempt.exitcode != EXIT_INTR
        return attempt.exitcode == REFUSED


def more_exits(t):
    """Each ends the run, and by its own exit: a task that is changed unseen makes others, too."""
    tries = [*TRIES]
    t.rng.shuffle(tries)
    wanted = {name: code for name, _, code in tries}
    attempts = [Attempt(name, code, mov("eax", 1) + mov("edx", 0) + mov("ecx", 0)) for name, code, _ in tries]
    guest = Guest(t, attempts)
    guest.command = f"first {3 * len(attempts)} controls"
    run, _ = witness(t, [guest.command], {t.symbol("svm_enter"): guest.enter})
    if not guest.vmcb:
        t.orderly(run)
    t.check(guest.vmcb, "nobody calls svm_enter()", "one call", "none")
    t.check(guest.page, "what the guest takes for its memory is the machine's: no second set of tables translates it",
            "nested paging", "none")
    t.check(attempts[0].exitcode != REFUSED, "the CPU refuses the VMCB", "a guest that runs", "no exit")
    for one in attempts:
        if not one.entered:
            t.orderly(run)
            raise Trouble(f"`{one.name}` was not tried")
        got = "never came back" if one.exitcode is None else f"exit code {one.exitcode:x} at {one.rip:x}"
        if one.exitcode == NESTED_FAULT and one.address == RAN_ON:
            got = "no exit"
        t.check(one.exitcode == wanted[one.name] and one.rip == one.at,
                f"on a CPU that has more than QEMU's, the guest executes `{one.name}`, and Zeno does not hear of it",
                f"exit code {wanted[one.name]:x} at {one.at:x}", got)
    t.orderly(run)
