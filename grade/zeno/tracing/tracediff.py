"""Where two exit traces part for the first time, and what that may mean, in words.

Two guests' lives are compared exit by exit: the place, the trap, what the handler did, and the state
behind it. What differs first is explained; what comes later is mostly its consequence.

With the same image of the guest everything is compared. With another one (`exact` is false: another
compiler built it) addresses mean nothing, accesses to memory that had to be emulated depend on the
instructions that the compiler chose, and so do flags that a guest prints: none of them is compared.
"""

from dataclasses import dataclass, field

LOOK_AHEAD = 400
SURE = 3
"""How many exits in a row must agree for two traces to have met again."""

REFUSED = ("MMU", "SEGMENT", "FAR", "IRET", "EXCEPTION")
"""Exits that come from what the CPU found in descriptors or page tables, not from the instruction."""

CONSOLE = 0x3f8

ADDRESSES = {"TABLE": "a", "WRITE": "b", "READ": "b", "FAR": "b", "DELIVER": "b", "IRET": "b",
             "STOP": "b", "-": "b"}
"""Which value of an effect is an address."""


@dataclass
class Difference:
    """The first divergence. `mine` and `theirs` are Exits, or None where there is none."""

    kind: str
    text: str
    theirs: object = None
    mine: object = None
    before: object = None
    """The last exit that was the same."""


@dataclass
class Comparison:
    """What came of it. `same` exits agreed; no difference if all did."""

    same: int
    total: int
    difference: Difference | None = None
    notes: list = field(default_factory=list)


class Compare:
    """Compares the student's life of a guest with the reference's."""

    def __init__(self, theirs, mine, exact=True):
        self.exact = exact
        self.theirs, self.mine = theirs, mine
        self.ref = self._kept(theirs.exits)
        self.own = self._kept(mine.exits)
        # When an interrupt comes depends on time: behind the first one nothing can be compared.
        self.cut = bool(theirs.interrupts)
        if self.cut:
            self.ref = [one for one in self.ref if one.seq <= theirs.interrupts[0].seq]

    def _kept(self, exits):
        return exits if self.exact else [one for one in exits if one.reason != "MMU"]

    def result(self):
        """The Comparison."""
        silent = []
        for k in range(len(self.ref) if self.cut else max(len(self.ref), len(self.own))):
            if self.cut and self.early_interrupt(k):
                break
            found = self.at(k, silent)
            if found:
                found.before = self.own[k - 1] if k else None
                return Comparison(k, len(self.ref), found, self.notes(silent))
        end = self.interrupted() if self.cut else self.ends()
        return Comparison(len(self.ref), len(self.ref), end, self.notes(silent))

    def early_interrupt(self, k):
        """True if the student's guest got an interrupt before exit k: from there on time decides."""
        return (self.mine.interrupts and k < len(self.own)
                and self.mine.interrupts[0].seq < self.own[k].seq)

    def interrupted(self):
        """The reference's guest got an interrupt: did the student's, ever?"""
        first = self.theirs.interrupts[0]
        if self.mine.interrupts:
            return None
        last = self.ref[-1] if self.ref else None
        where = f"exit {last.seq}, {last.name()} at {last.where()}: " if last else ""
        own = self.own[len(self.ref) - 1] if 0 < len(self.ref) <= len(self.own) else None
        return Difference("interrupt", f"{where}the reference injected vector {first.vector:#04x} "
                          f"before the next instruction (handler at {first.place}); yours went on "
                          f"without it, and never injected an interrupt; {self.mine.said()}.", last,
                          own)

    @staticmethod
    def notes(silent):
        """What is worth a line, but no divergence."""
        if not silent:
            return []
        names = ", ".join(dict.fromkeys(f"{one.name()} (exit {one.seq})" for one in silent[:8]))
        return [f"your handler does not say what it did (exit_effect()) for {names}: the trace is "
                "poorer for it"]

    # -- one exit -----------------------------------------------------------------------------

    def at(self, k, silent):
        """The Difference at exit number k, or None."""
        if k >= len(self.own):
            return self.stops_early(k)
        if k >= len(self.ref):
            return self.goes_on(k)
        ref, own = self.ref[k], self.own[k]
        if not self.meets(ref, own):
            return self.other_path(k)
        return self.other_deed(k, ref, own, silent)

    def meets(self, ref, own):
        """True if both are the same kind of exit at the same place."""
        return (ref.reason == own.reason and ref.insn == own.insn and ref.vector == own.vector
                and (not self.exact or ref.place == own.place and ref.length == own.length))

    def again(self, i, j):
        """True if the traces agree for a while from ref[i] and own[j] on."""
        turns = min(SURE, len(self.ref) - i, len(self.own) - j)
        return turns > 0 and all(self.meets(self.ref[i + n], self.own[j + n])
                                 and self.ref[i + n].effect == self.own[j + n].effect
                                 for n in range(turns))

    def values(self, one):
        """An effect with its values, addresses left out where they mean nothing."""
        values = {"a": one.a, "b": one.b}
        if not self.exact and one.effect in ADDRESSES:
            values.pop(ADDRESSES[one.effect])
        if not self.exact and one.effect in ("FAR", "IRET"):
            values = {}
        if not self.exact and one.effect == "OUT" and one.a == CONSOLE:
            values.pop("b")
        return one.effect, values

    def after(self, one):
        """Where it goes on, as far as that can be compared."""
        return one.after if self.exact or one.after in "+=" else "elsewhere"

    def other_deed(self, k, ref, own, silent):
        """The same exit: was the same done about it?"""
        says = []
        if self.exact and ref.error != own.error:
            says.append(f"the CPU's error code was {ref.error:#x} for the reference and is "
                        f"{own.error:#x} for you: the selector or descriptor that it tripped over "
                        "is another one")
        if self.exact and ref.ring != own.ring:
            says.append(f"the guest's CPL, in v->state, is {own.ring}, not {ref.ring}")
        if ref.effect == "STOP" and own.effect != "STOP":
            says.append(f"the reference stops the guest here ({self.theirs.said()}); yours lets it "
                        "go on" + (f", having done: {own.done}" if own.done else ""))
        elif own.effect == "STOP" and ref.effect != "STOP":
            says.append(f"the reference {self.did(ref)}; yours stops the guest: "
                        f"{self.mine.said()}")
        elif own.effect == "-" and ref.effect != "-":
            silent.append(own)
        elif self.values(ref) != self.values(own):
            says.append(f"the reference {self.did(ref)}; yours: "
                        + (own.done or "nothing that it would tell of"))
        if "STOP" not in (ref.effect, own.effect):
            says += self.state_behind(ref, own)
        if not says:
            return None
        # The handler's silence is worth a word only where nothing else is wrong.
        text = f"exit {own.seq}, {own.name()} at {own.where()}: " + "; ".join(says)
        return Difference("deed", text + ("" if text.endswith("?") else "."), ref, own)

    @staticmethod
    def did(ref):
        """What the reference did about an exit."""
        return f"emulated {ref.name()} ({ref.done})" if ref.done else f"emulated {ref.name()}"

    def state_behind(self, ref, own):
        """What differs in the guest's state after the exit."""
        says = []
        if ref.flag != own.flag:
            says.append(f"behind it the guest's IF is {ref.flag} in the reference and {own.flag} in "
                        "yours (v->state.rflags: the virtual IF)")
        if ref.shadow != own.shadow:
            says.append("behind it sti's shadow, v->state.sti_shadow, is "
                        f"{ref.shadow} in the reference and {own.shadow} in yours")
        if self.after(ref) != self.after(own):
            says.append(self.other_rip(ref, own))
        return says

    @staticmethod
    def other_rip(ref, own):
        """The guest goes on elsewhere."""
        if own.after == "=":
            place = "behind it" if ref.after == "+" else f"at {ref.after}"
            return (f"the reference went on {place}, yours resumed at the same rip: was rip "
                    "advanced (vcpu_advance())?")
        if ref.after == "=":
            return ("the reference runs the instruction again, since what it tripped over has been "
                    "mended; yours skips it: rip was advanced and must not be")
        if ref.after == "+":
            step = "" if None in (own.next, own.rip) else f", {own.next - own.rip} bytes on,"
            return (f"the reference went on behind it ({own.length} bytes); yours went on at "
                    f"{own.after}{step}: rip was advanced twice, or by a length of your own?")
        return f"the reference went on at {ref.after}; yours at {own.after}"

    # -- other paths --------------------------------------------------------------------------

    def came_from(self, k):
        """The way to exit k in half a sentence."""
        if not k:
            return "from the guest's first instruction on"
        last = self.own[k - 1]
        start = "behind" if last.after == "+" else "again at" if last.after == "=" else "from"
        place = last.place if last.after in "+=" else last.after
        return f"{start} {last.name()} at {place} (exit {last.seq}, the same in both)"

    def point(self, k):
        """The place of the last common exit."""
        return f"exit {self.own[k - 1].seq}" if k else "its first instruction"

    def other_path(self, k):
        """The guest came out at another place, or by another trap."""
        ref, own = self.ref[k], self.own[k]
        if self.exact and ref.place == own.place:
            return Difference("trap", f"exit {own.seq} at {own.where()}: the same instruction left "
                              f"the guest another way: the reference has {self.out(ref)}, yours "
                              f"{self.out(own)}. The CPU's state or its tables were not the same: "
                              "CPL, IOPL, the shadow descriptor of the segment, or the handler's "
                              "reading of the instruction.", ref, own)
        for j in range(1, LOOK_AHEAD):
            if self.again(k + j, k):
                return self.missing(k, j)
            if self.again(k, k + j):
                return self.extra(k, j)
        if own.reason in REFUSED:
            return Difference("refused", f"exit {own.seq}: the CPU refused {own.name()} at "
                              f"{own.where()} ({own.trap}, error code {own.error:#x}). In the reference "
                              f"the guest ran from {self.point(k)} to {self.out(ref)} at {ref.where()} "
                              "without an exit: is the descriptor's shadow, or the page, there, and "
                              "does it allow what the guest's own allows?" + self.suspect(k), ref, own)
        return Difference("path", f"exit {own.seq}: {self.came_from(k)} the reference's guest ran on "
                          f"to {self.out(ref)} at {ref.where()}; yours came out at {own.where()} by "
                          f"{self.out(own)}. In between it ran on the CPU: a register, a flag, a "
                          "segment or memory is not what it should be." + self.suspect(k), ref, own)

    @staticmethod
    def out(one):
        """An exit as a way out."""
        if one.insn == "-":
            return one.trap
        return f"{one.trap} on `{one.insn}`"

    def suspect(self, k):
        """What the last common exit should have left behind."""
        if not k:
            return " Was the guest entered with the state that v->state says?"
        last = self.ref[k - 1]
        left = {"IN": "the value in AL, AX or EAX, and the other registers as they were",
                "CR_READ": "the value in the destination register",
                "DR_READ": "the value in the destination register",
                "SEGMENT": "the segment's base, limit and attributes",
                "TABLE": "the table's base and limit, and shadows of its descriptors",
                "READ": "the value where the instruction reads it to, and its flags",
                "WRITE": "the value in memory, and the instruction's flags"}.get(last.effect)
        return f" Exit {last.seq} has to leave {left}." if left else ""

    def missing(self, k, count):
        """The reference has exits here that the student's trace lacks."""
        first = self.ref[k]
        many = "an exit" if count == 1 else f"{count} exits"
        text = (f"exit {self.own[k].seq}: {many} of the reference "
                f"{'is' if count == 1 else 'are'} missing here: {self.came_from(k)} it has "
                f"{self.out(first)} at {first.where()}{': ' + first.done if first.done else ''}. ")
        if first.reason in ("CLI", "STI", "HLT", "IO", "CR", "DR", "LGDT", "LIDT"):
            text += (f"In yours the CPU ran `{first.insn}` itself, or it was skipped. It traps if the "
                     "guest has CPL 1 and IOPL 0; rip is skipped too far if it was advanced twice.")
        else:
            text += ("In yours the CPU had nothing against it: look at the shadow descriptors and at "
                     "what is write-protected.")
        return Difference("missing", text, first, self.own[k])

    def extra(self, k, count):
        """The student's trace has exits here that the reference lacks."""
        first = self.own[k]
        many = "an exit" if count == 1 else f"{count} exits"
        text = (f"exit {first.seq}: you have {many} here that the reference has not: "
                f"{self.came_from(k)} yours has {self.out(first)} at {first.where()}"
                f"{': ' + first.done if first.done else ''}; the reference's next is "
                f"{self.out(self.ref[k])} at {self.ref[k].where()}.")
        if first.reason in REFUSED:
            text += (" The CPU refused something that it takes from the reference: a shadow "
                     "descriptor that is cut too short or not there, or a page that is protected "
                     "without need.")
        elif k and self.own[k - 1].place == first.place:
            text += " It is the same instruction as in the exit before: it was run twice."
        return Difference("extra", text, self.ref[k], first)

    # -- ends ---------------------------------------------------------------------------------

    def stops_early(self, k):
        """The student's guest makes no more exits."""
        first = self.ref[k]
        said = self.mine.said()
        if not k:
            text = (f"your guest made no exit at all; {said}. The reference's first exit is "
                    f"{first.sentence()}.")
        elif first.effect == "STOP" and k == len(self.ref) - 1:
            text = (f"after exit {self.own[k - 1].seq} yours has no more exits; {said}. The reference "
                    f"stops the guest at {self.out(first)} at {first.where()}: "
                    f"{self.theirs.said()}.")
        else:
            text = (f"after exit {self.own[k - 1].seq} ({self.own[k - 1].sentence()}) yours has no "
                    f"more exits; {said}. The reference goes on with {first.sentence()}.")
        return Difference("early", text, first, None)

    def goes_on(self, k):
        """The reference's guest had ended."""
        own = self.own[k]
        return Difference("late", f"the reference's guest ended after exit {self.ref[-1].seq} "
                          f"({self.theirs.said()}); yours goes on with exit {own.seq}: "
                          f"{own.sentence()}.", None, own)

    def ends(self):
        """All exits agree: do output and end?"""
        if self.exact and self.theirs.output != self.mine.output:
            return Difference("output", "all exits agree, but not what the guest printed: expected "
                              f"{show(self.theirs.output)}, got {show(self.mine.output)}. A byte "
                              "that `out` wrote came from another register or went nowhere.")
        if self.verdict(self.theirs) != self.verdict(self.mine):
            return Difference("end", "all exits agree, but not the end: in the reference the guest's "
                              f"is \"{self.theirs.said()}\", in yours \"{self.mine.said()}\".")
        return None

    @staticmethod
    def verdict(life):
        """What of a guest's end has to be the same: stopped for whatever reason, or its exit code."""
        verdict, text = life.end or ("", "")
        return verdict, text.split(" after ")[0] if verdict == "ended" else ""


def show(data, width=60):
    """The end of an output."""
    text = data.decode("utf-8", "backslashreplace")
    return f"\"...{text[-width:]}\"" if len(text) > width else f"\"{text}\""


def compare(theirs, mine, exact=True):
    """The Comparison of the student's Life with the reference's."""
    return Compare(theirs, mine, exact).result()
