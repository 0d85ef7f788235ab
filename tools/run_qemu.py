"""A QEMU that a person talks to, directly or by GDB."""

import re
import select
import socket
import subprocess
import sys
import time

from terminal import Faults, Pipe, report, say
from zeno.machines import qemu, triplefault
from zeno.machines.process import die_with_parent
from zeno.machines.qmp import Qmp
from zeno.machines.symbols import Symbols

LOOK_SECONDS = 1.0
"""Between two looks at whether the CPU stands still for good."""


def qemu_argv(setup, faults, monitor_fd):
    """QEMU's arguments but for the console and the stub."""
    argv = qemu.boot_argv(setup)
    argv += ["-S", "-no-shutdown", "-chardev", f"socket,id=qmp,fd={monitor_fd}",
             "-mon", "chardev=qmp,mode=control"]
    if faults:
        argv += ["-d", "int,cpu_reset", "-D", faults.path()]
    return argv


class Qemu:
    """A QEMU that a person talks to."""

    def __init__(self, setup, console, explain, linger=False, pass_fds=(), pipe=None, held=False, behind=None):
        """`linger` leaves the machine standing after a reset, for GDB to look at. `pipe` passes its console on. A
        `held` one does not run before GDB says so. How it ended is told when the event `behind` is there, if any."""
        self.linger, self.pipe, self.held, self.behind = linger, pipe, held, behind
        self.looked_at, self.dead_at = time.monotonic(), None
        self.symbols = Symbols(setup.elf)
        self.faults = Faults() if explain else None
        ours, theirs = socket.socketpair()
        argv = qemu_argv(setup, self.faults, theirs.fileno()) + console
        fds = [theirs.fileno(), *pass_fds] + ([self.faults.write_fd] if self.faults else [])
        self.process = subprocess.Popen(argv, pass_fds=fds, preexec_fn=die_with_parent,
                                        stdin=None if "mon:stdio" in console
                                        else subprocess.DEVNULL,
                                        # Ctrl-C in the terminal is GDB's, and no end of the machine
                                        start_new_session=linger)
        theirs.close()
        if self.faults:
            self.faults.begin()
        self.qmp = Qmp(ours, lambda: self.process.poll() is None)
        self.verdict = None

    def watch(self):
        """Wait for the end; the exit status. The machine stands still after a reset."""
        try:
            self.qmp.hello(then_run=not self.held)
        except Exception:  # pylint: disable=broad-except
            pass
        while self.process.poll() is None:
            select.select([self.qmp], [], [], 0.2)
            self.qmp.pump()
            event = self.qmp.event("SHUTDOWN")
            if event:
                return self._stopped(event.get("data", {}).get("reason"))
            if not self.linger and self._dead():
                return self._dead_halt()
        return self._exited(self.process.returncode)

    def _dead(self):
        """True if the CPU sat in HLT with interrupts off at two looks, at one place: nothing will wake it."""
        if time.monotonic() - self.looked_at < LOOK_SECONDS:
            return False
        self.looked_at = time.monotonic()
        try:
            text = self.qmp.human("info registers")
        except Exception:  # pylint: disable=broad-except
            return False  # it ends just now, or the person has stopped it in the monitor
        flags = re.search(r"[ER]FL=([0-9a-f]+)", text)
        halted = "HLT=1" in text and flags and not int(flags[1], 16) & 0x200
        before, self.dead_at = self.dead_at, qemu.parse_registers(text).get("rip") if halted else None
        return halted and before == self.dead_at

    def _dead_halt(self):
        self._quit()
        self._report("the machine stands still for good", "the CPU is in HLT with interrupts off, "
               f"rip {self.symbols.describe(self.dead_at)}")
        return 1

    def _quit(self):
        try:
            self.qmp.command("quit")
        except Exception:  # pylint: disable=broad-except
            self.process.kill()
        self.process.wait()
        if self.faults:
            self.faults.join(10)

    def _report(self, *words):
        """Say how it ended, behind its own last words."""
        if self.pipe:
            self.pipe.join(5)
        if self.behind:
            self.behind.wait()
        report(*words)

    def explanation(self):
        """The chain of faults in words, if the log has one."""
        return triplefault.explain_qemu(self.faults.tail.text(), self.symbols) \
            if self.faults else None

    def _stopped(self, reason):
        if reason != "guest-reset":
            self._quit()
            return 0
        rip = None
        try:
            rip = qemu.parse_registers(self.qmp.human("info registers")).get("rip")
        except Exception:  # pylint: disable=broad-except
            pass
        if self.linger:
            # QEMU wrote its log before the event: give the thread that reads it a moment.
            select.select([], [], [], 0.5)
        else:
            self._quit()
        where = f"rip {self.symbols.describe(rip)}" if rip is not None else ""
        words = self.explanation()
        if words:
            self._report("the machine reset itself", where, words)
        else:
            self._report("the guest asked for a reset", where)
        return 1

    def _exited(self, status):
        if status & 1 and status > 0 and self.qmp.greeted:
            code = status >> 1
            self._report("shutdown", f"the guest wrote {code:#x} to the debug exit port")
            return 0 if code == 0 else 1
        if status == 0:
            return 0
        self._report("QEMU ended", f"status {status}")
        return 2


def run_qemu(setup, options):
    """An interactive QEMU on this terminal, or one that our input is typed into."""
    if sys.stdin.isatty():
        say("Ctrl-A x leaves QEMU, Ctrl-A c switches between the console and QEMU's monitor")
        return Qemu(setup, ["-serial", "mon:stdio"], options.explain).watch()
    pipe = Pipe()
    guest = Qemu(setup, pipe.arguments(), options.explain, pass_fds=[pipe.theirs.fileno()], pipe=pipe)
    pipe.theirs.close()
    pipe.start()
    status = guest.watch()
    pipe.join(5)
    return status
