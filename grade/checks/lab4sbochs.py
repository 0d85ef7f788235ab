"""Lab 4sA, exercise 4s.4, on Bochs: what must exit on a CPU that asks of each instruction by itself.

QEMU 7.2 asks the intercept of WBINVD for INVD, too, so there the other bit is never looked at. Witnessed through Bochs'
debugger, as lab4sacontrols.py does it through QEMU's: `first N controls` enters a guest of the student's controls N times,
with another piece of code each time, and the VMCB says why the run ended.
"""

from . import lab4acontrols, lab4sacontrols
from .lab4 import FLAG_IF, STOPS, said, to_return, witness
from .lab4sacontrols import CODE_AT, EXIT_INTR, GDT, IDT, PAGE, REFUSED, Attempt, all_exit, attempts_of, page_of

CODE_BYTES = 0x80
"""Of the guest's page these are another attempt's each time."""
NOT_HERE = ("mov cr8, ecx",)
"""Outside of 64-bit code Bochs' CPU has no such move."""


class Guest(lab4sacontrols.Guest):
    """On Bochs: what has been decoded is not seen to change, and the host's ticks can't be masked from outside."""

    store = lab4acontrols.Guest.store

    def begin(self, client, regs):
        self.vmcb = regs["rsi"]
        self.controls = {"np_enable": self.number(client, "np_enable")}
        self.page = self.find_page(client) if self.controls["np_enable"] & 1 else 0
        if self.page:
            client.write(self.page, page_of(Attempt("", b"")), physical=True)
        return bool(self.page)

    def prepare(self, client, attempt):
        # With IF=0 Bochs warns of a CPU that sleeps for ever before it looks at the intercepts.
        flags = 2 | FLAG_IF * (attempt.name == "hlt")
        for name, value, size in (("rip", CODE_AT, 8), ("rflags", flags, 8), ("rsp", CODE_AT + PAGE - 16, 8),
                                  ("gdtr.limit", 0x1F, 4), ("gdtr.base", GDT, 8), ("idtr.limit", 0x187, 4), ("idtr.base", IDT, 8),
                                  ("cr0", 0x11, 8), ("cr3", 0, 8), ("cr4", 0, 8)):
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


def must_exit(t):
    """All that is not the guest's own."""
    attempts = [one for one in attempts_of(t, 1) if one.name not in NOT_HERE]
    guest = Guest(t, attempts)
    guest.command = f"first {2 * len(attempts)} controls"
    run, _ = witness(t, [guest.command], {t.symbol("svm_enter"): guest.enter})
    t.check(guest.vmcb, "nobody calls svm_enter()", "one call", said(run, guest.command))
    t.check(guest.page, "what the guest takes for its memory is the machine's: no second set of tables translates it",
            "nested paging", "none")
    t.check(attempts[0].exitcode != REFUSED, "the CPU refuses the VMCB", "a guest that runs", "no exit")
    all_exit(t, run, attempts, " on Bochs")
    t.orderly(run)
