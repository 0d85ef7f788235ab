"""What a check works with: one Trial per test and run, and the three ways in which it can end early.

A check is a function `def ring1(t):` in grade/checks/labN.py that returns if the test passes. It
boots machines through the Trial (which keeps every run for the report), and says what must hold:

    run = t.boot("start first; off", modules=[(guest, "")])
    t.orderly(run)
    t.equal(expected, evidence.guest_output(run), "what the guest printed")

Failed, Skipped and Trouble are three different things, and nothing else ends a check: any other
exception is the harness's own trouble and never the student's failure.
"""

import random
from pathlib import Path

from ..machines import gdbremote, machine
from . import evidence
from .tools import tool


LIMITS = machine.Limits(instructions=400_000_000, console_bytes=1 << 20, side_bytes=16 << 20)
"""Ten times what a boot and any trial of the kernel's need."""


class Failed(Exception):
    """The student's code does not do what the test asks for."""

    def __init__(self, why, expected=None, got=None):
        super().__init__(why)
        self.why = why
        self.expected = expected
        self.got = got


class Skipped(Exception):
    """The test can't run here; the text says why and what would help."""


class Trouble(Exception):
    """The harness can't tell: bail out."""


class Trial:
    """One run of one test."""

    def __init__(self, lab, test, image, seed, name, directory):
        self.lab = lab
        self.test = test
        self.image = image
        self.seed = seed
        self.machine = name
        self.directory = Path(directory)
        self.rng = random.Random(f"{seed}/{lab.number}/{test.name}")
        self.runs = []
        self.notes = []
        self.todo = None

    # -- machines -----------------------------------------------------------------------------

    def path(self, name):
        """A file of this trial's own."""
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / name

    @property
    def symbols(self):
        """Symbols of the kernel under test."""
        return self.image.symbols

    def symbol(self, name):
        """Address of a kernel symbol; the test fails if the image lacks it or has it twice."""
        try:
            return self.symbols.address(name)
        except KeyError:
            raise Failed(f"the kernel has no symbol `{name}`, which this test needs to look at; "
                         "is the function that the skeleton had still there, not static?",
                         f"a function {name}", "none") from None
        except evidence.Ambiguous as error:
            raise Failed(str(error), f"one {name}", "several") from None

    def disk(self, kernel, cmdline, modules, name):
        """A disk image that Zeno's own loader boots."""
        path, maker = self.path(name), tool("mkimage")
        boot = Path(self.image.guests).parent / "boot"
        try:
            path.write_bytes(maker.make(kernel, cmdline, [(module, f"{module} {words}".rstrip()) for module, words in modules],
                                        boot / "mbr.bin", boot / "loader.bin"))
        except maker.ImageError as error:
            raise Trouble(f"tools/mkimage.py: {error}") from None
        return path

    def setup(self, cmdline, modules=(), elf=(), kernel=None, **more):
        """The keywords for machine.start(): the kernel under test with this command line."""
        bare = kernel is not None
        kernel = kernel or self.image.mb
        where = more.pop("machine", self.machine)
        symbols = list(elf) if bare else [self.image.elf, *elf]
        keys = {"machine": where, "cpu": self.lab.cpu_on(where), "elf": symbols, "limits": LIMITS, **more}
        if where == "bochs" or more.pop("from_disk", False):
            keys.pop("from_disk", None)
            keys["disk"] = self.disk(kernel, cmdline, modules, f"disk{len(self.runs)}.img")
        else:
            keys |= {"kernel": kernel, "cmdline": cmdline, "modules": list(modules)}
        return keys

    def start(self, cmdline="", modules=(), **more):
        """Start the kernel under test; the caller waits for it with `finish(live)`."""
        try:
            return machine.start(**self.setup(cmdline, modules, **more))
        except machine.MachineMissing as missing:
            raise Skipped(str(missing)) from None

    def finish(self, live):
        """Wait for a started machine, keep the run for the report, bail out on trouble."""
        run = live.wait()
        self.runs.append(run)
        if run.end is machine.End.TROUBLE:
            raise Trouble(f"{run.machine}: {run.detail}")
        return run

    def boot(self, cmdline="", modules=(), **more):
        """Run the kernel under test to its end."""
        return self.finish(self.start(cmdline, modules, **more))

    def bare(self, guest, words="", **more):
        """Run a guest on the bare machine, with the same emulator and CPU model.

        The run is the yardstick, so one that does not end as a guest should is the harness's
        trouble.
        """
        run = self.boot(words, kernel=guest, elf=[guest], **more)
        self.runs.pop()
        if run.end is not machine.End.SHUTDOWN:
            raise Trouble(f"the bare machine did not end in order: {run.end.value}: {run.detail}")
        if not run.console:
            raise Trouble("the bare machine printed nothing: there is nothing to compare with")
        return run

    def witness(self, cmdline, points, modules=(), keep=None, hits=200_000, **more):
        """Boot stopped, call a function(client, registers) at each address, run to the end.

        A function that returns something true ends the watching. `keep`, a list, gets the running
        machine. Gives (Run, {address: how often it was reached}).
        """
        # A machine that the stub holds looks asleep: that must not end the run.
        live = self.start(cmdline, modules, paused=True, idle=False, **more)
        if keep is not None:
            keep.append(live)
        raised = []

        def guarded(function):
            def call(client, regs):
                try:
                    return function(client, regs)
                except gdbremote.Gone:
                    raise
                except Exception as error:  # pylint: disable=broad-except
                    raised.append(error)
                    live.stop()  # here: what such a machine would still say misleads, and it was played with
                    return True
            return call

        seen = gdbremote.witness(live, {address: guarded(function)
                                        for address, function in points.items()}, hits=hits)
        run = self.finish(live)
        if raised and isinstance(raised[0], gdbremote.Nowhere):
            raise Failed("what this test follows in the kernel's memory leads nowhere, or on without end", "addresses of the kernel's own",
                         raised[0])
        if raised and isinstance(raised[0], gdbremote.Refused):
            raise Trouble(f"the GDB stub: {raised[0]}")
        if raised:
            raise raised[0]
        return run, seen

    # -- what must hold -----------------------------------------------------------------------

    def fail(self, why, expected=None, got=None):
        """End the check: this is what is wrong."""
        raise Failed(why, expected, got)

    def check(self, holds, why, expected=None, got=None):
        """Fail with `why` (a sentence that says what is wrong) unless `holds`."""
        if not holds:
            raise Failed(why, expected, got)

    def equal(self, expected, got, what):
        """Fail unless two byte strings (or values) are the same. An empty expectation is trouble."""
        if expected is None or (hasattr(expected, "__len__") and len(expected) == 0):
            raise Trouble(f"the expectation of {what} is empty")
        if expected == got:
            return
        if isinstance(expected, bytes) and isinstance(got, bytes):
            where = evidence.around_difference(expected, got)
            raise Failed(f"{what} is not the same: {where}", expected, got)
        raise Failed(f"{what} is not what it should be", expected, got)

    def orderly(self, run, code=0):
        """Fail unless the kernel itself ended the machine, with this code, in one boot."""
        if run.end is machine.End.SHUTDOWN and (run.code is None or run.code == code):
            return
        expected = f"the kernel ends the machine by `off` (debug exit code {code})"
        if run.end is machine.End.SHUTDOWN:
            got = f"debug exit code {run.code}"
            why = f"the machine was ended with code {run.code}, not {code}"
            panic = panic_line(run)
            if panic:
                why, got = f"the kernel panicked: {panic}", panic
        elif panic_line(run):
            got = f"{panic_line(run)}\n({run.end.value}: {run.detail})"
            why = f"the kernel panicked: {panic_line(run)}"
        else:
            got = f"{run.end.value}: {run.detail}"
            why = END_IN_WORDS.get(run.end, "the run did not end in order") + f" ({run.detail})"
            if run.explanation:
                got = run.explanation
            fault = same_fault(run)
            if fault:
                why = (f"the guest takes the same page fault for ever, {fault}: the entry that was filled "
                       f"still forbids the access. {why[0].upper()}{why[1:]}")
        raise Failed(why, expected, got)


END_IN_WORDS = {
    machine.End.RESET: "the machine was reset in the middle of the run",
    machine.End.TRIPLE_FAULT: "the machine triple-faulted, which on real hardware is a reboot",
    machine.End.DEAD_HALT: "the CPU sits in HLT with interrupts off: nothing can wake it again",
    machine.End.IDLE: "the machine fell asleep before the work was done",
    machine.End.INSTRUCTIONS: "the run used up its instructions: it loops for ever, or does far too much",
    machine.End.HALTS: "the machine went to sleep again and again: it waits for something that "
                       "never comes",
    machine.End.CPU: "the run used up its CPU time: something loops for ever",
    machine.End.FLOOD: "the kernel printed far more than any output here can be",
    machine.End.KILLED: "the emulator was killed",
    machine.End.UNTIL: "the run was stopped from outside before it was done",
}


def same_fault(run):
    """The hidden fault that the last exits of a run are, all of them the same one, or None."""
    last = {line.partition(": ")[2] for line in evidence.exits_in_words(run)[-6:]}
    found = last.pop() if len(last) == 1 else ""
    return found if "hidden fault" in found else None


def panic_line(run):
    """The line in which the kernel says that it panicked, or None."""
    for line in run.text().splitlines():
        if "panic" in line.lower():
            return line.strip()
    return None
