"""The driver for QEMU's TCG.

One QEMU process per run: no window, no network, no default devices. COM1 goes to a file (or to a
socket pair where somebody types), port 0xE9 to another file, the monitor (QMP) and the GDB stub to
socket pairs that no other process can reach.

`-no-reboot -no-shutdown` stops the machine at a reset with its registers as they were, so that they
can be read before it ends. Where the log of interrupts is on, it goes through a pipe of which we
keep the end only, since a guest that faults a million times would write gigabytes.
"""

import contextlib
import dataclasses
import hashlib
import os
import re
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from . import counts, linked, triplefault
from .live import DEAD_SAMPLES, IDLE_SAMPLES, LiveBase, Tail
from .machine import End, MachineMissing, cpu_string
from .qmp import Qmp, QmpGone, parse_registers
from .symbols import known

PROGRAM = "qemu-system-x86_64"
QBOOT = "qboot.rom"
"""QEMU's own small BIOS. A kernel that QEMU has loaded needs no more, and of what a boot with SeaBIOS and VGA's ROM costs a
third is theirs. But it leaves LINT0 masked: where the CPU has a local APIC, the 8259's interrupts need SeaBIOS."""
OWN_WORDS = re.compile(r"(^|; )(qemu|qemu-system-\w+): (?!warning:)")
"""What QEMU complains of itself in. It, too, ends with status 1 then, as after a guest that ends with code 0."""
DEBUG_EXIT = 0xF4
BOOT_SECTOR = 0x7C00
LINUX = 0x100000  # where its 32-bit code begins, of a kernel that is no ELF
RUN_PY = Path(__file__).resolve().parent.parent.parent.parent / "tools" / "run.py"
EFLAGS_IF = 1 << 9
EFER_SVME = 1 << 12
BUFFER = 4 << 20


def missing():
    """None, or what to install."""
    if shutil.which(PROGRAM):
        return None
    return f"{PROGRAM} is not here; install the package qemu-system-x86"


def qboot():
    """True if QEMU has its small BIOS, in the folder where it looks first; else SeaBIOS starts all."""
    return Path(shutil.which(PROGRAM) or PROGRAM).resolve().parent.with_name("share").joinpath("qemu", QBOOT).exists()


def version():
    """`QEMU 7.2.22`, or None. What starts its kernels is said if it is not what it should be."""
    if missing():
        return None
    done = subprocess.run([PROGRAM, "--version"], stdin=subprocess.DEVNULL, capture_output=True,
                          check=False)
    words = done.stdout.decode("utf-8", "replace").split()
    return " ".join(["QEMU", *words[3:4]] + ["with SeaBIOS"] * (not qboot()))


def _comma(path):
    """A path as a value in QEMU's option syntax, where a comma is written twice."""
    return str(path).replace(",", ",,")


def _without_spaces(path):
    """The path, or a link to it: QEMU takes what follows a module's first space for its words.

    The link stays, so that the commands we print can be typed; its folder is the user's own.
    """
    if not any(c.isspace() for c in str(path)):
        return path
    links = Path(tempfile.gettempdir(), f"zeno-links-{os.getuid()}")
    links.mkdir(mode=0o700, exist_ok=True)
    if links.is_symlink() or links.stat().st_uid != os.getuid():
        raise OSError(f"{links} is somebody else's")
    folder = links / hashlib.sha256(str(path.parent).encode()).hexdigest()[:16]
    with contextlib.suppress(FileExistsError):
        folder.symlink_to(path.parent)
    return folder / path.name


def _module(path, words):
    text = words if isinstance(words, str) else " ".join(words)
    return _comma(f"{_without_spaces(Path(path).resolve())} {text}".rstrip())


def boot_argv(setup):
    """The machine and what it boots, without its channels: the same in every kind of run."""
    cpu = cpu_string(setup.machine, setup.cpu)
    argv = [PROGRAM, "-M", "pc", "-accel", "kvm" if setup.machine == "kvm" else "tcg", "-cpu", cpu,
            "-m", str(setup.mem), "-nodefaults", "-vga", "std", "-display", "none",
            "-no-reboot", "-device", f"isa-debug-exit,iobase={DEBUG_EXIT:#x},iosize=4",
            "-device", "ib700", "-watchdog-action", "inject-nmi"]  # kern/words/watchdog.c
    if setup.icount:
        argv += ["-icount", f"shift={setup.shift},sleep=off", "-rtc", "base=2000-01-01,clock=vm"]
    if setup.kernel is not None:
        if "-apic" in cpu.split(",") and qboot():
            argv += ["-bios", QBOOT]
        argv += ["-kernel", str(Path(setup.kernel).resolve())]
        if setup.cmdline:
            argv += ["-append", setup.cmdline]
        if setup.modules:
            argv += ["-initrd", ",".join(_module(*module) for module in setup.modules)]
    else:
        disk = _comma(Path(setup.disk).resolve())
        argv += ["-drive", f"file={disk},format=raw,if=ide,index=0,snapshot=on"]
    return argv + list(setup.extra)


def shell_command(setup):
    """A line for the shell that boots the same machine with its console on the terminal."""
    return shlex.join(boot_argv(setup) + ["-serial", "mon:stdio"])


def shell_command_gdb(setup):
    """A line for the shell that boots the same machine stopped, with GDB attached."""
    argv = ["python3", os.path.relpath(RUN_PY), "--gdb", "--cpu", setup.cpu, "--mem", str(setup.mem)]
    if setup.kernel is not None:
        argv += ["--kernel", str(setup.kernel)]
        if setup.cmdline:
            argv += ["--append", setup.cmdline]
        for path, words in setup.modules:
            words = words if isinstance(words, str) else " ".join(words)
            argv += ["--module", f"{_without_spaces(Path(path))} {words}".rstrip()]
    else:
        argv += ["--disk", str(setup.disk)]
    for path in setup.elf:
        argv += ["--elf", str(path)]
    return shlex.join(argv)


class Live(LiveBase):
    """A QEMU that runs."""

    machine = "qemu"

    def __init__(self, setup):
        self.qmp = None
        self.reader = None
        self.interrupts = Tail() if setup.explain == "live" else None
        self._ours = []
        self._theirs = []
        self._serial = None
        self._stub = None
        self._client = None
        self._log_fd = -1
        self._printed = (0, 0)
        self._halts = 0
        super().__init__(setup)

    def _pair(self):
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._ours.append(ours)
        self._theirs.append(theirs)
        return ours, theirs.fileno()

    def _launch(self):
        setup = self.setup
        argv = boot_argv(setup)
        monitor, fd = self._pair()
        argv += ["-S", "-no-shutdown", "-chardev", f"socket,id=qmp,fd={fd}",
                 "-mon", "chardev=qmp,mode=control"]
        argv += self._serial_argv()
        argv += ["-chardev", f"file,id=side,path={_comma(self.path('side'))}",
                 "-device", "isa-debugcon,iobase=0xe9,chardev=side"]
        if setup.gdb:
            self._stub, fd = self._pair()
            argv += ["-chardev", f"socket,id=gdb,fd={fd}", "-gdb", "chardev:gdb"]
        argv += self._plugin_argv()
        fds = [end.fileno() for end in self._theirs]
        if self.interrupts is not None:
            self._log_fd, pipe = os.pipe()
            os.set_blocking(self._log_fd, False)
            fds.append(pipe)
            argv += ["-d", "int,cpu_reset", "-D", f"/dev/fd/{pipe}"]
        else:
            pipe = -1
            argv += ["-d", "cpu_reset", "-D", str(self.path("log"))]
        self._spawn(argv, linked.start, pass_fds=fds)
        if pipe >= 0:
            os.close(pipe)
        for end in self._theirs:
            end.close()
        self.qmp = Qmp(monitor, lambda: self.child.returncode() is None)
        try:
            self.qmp.hello(then_run=not setup.paused)
        except (QmpGone, RuntimeError):
            pass  # it ended early: _look() finds out why

    def _serial_argv(self):
        if self.setup.interactive:
            self._serial, fd = self._pair()
            self._serial.setblocking(False)
            return ["-chardev", f"socket,id=com1,fd={fd},logfile={_comma(self.path('console'))}",
                    "-serial", "chardev:com1"]
        return ["-chardev", f"file,id=com1,path={_comma(self.path('console'))}",
                "-serial", "chardev:com1"]

    def _plugin_argv(self):
        """Counting starts at the kernel's entry: what the BIOS does depends on the time of day."""
        plugin = counts.plugin()
        if not plugin:
            if self.setup.watch or self.setup.exact or self.setup.points or self.setup.known or self.setup.counted_from:
                raise MachineMissing("the TCG plugin can't be built: no C compiler is here")
            return []
        start = self.setup.counted_from or (BOOT_SECTOR if self.setup.kernel is None else known(self.setup.kernel).entry or LINUX)
        self.reader = counts.Reader(self.path("counts"), self.setup.exact)
        return ["-plugin", counts.argument(plugin, self.path("counts"), self.setup.limits, start,
                                           self.setup.exact, self.setup.watch, self.setup.points, self.setup.known)]

    def _wait(self, seconds):
        fds = [self.qmp, self.child.pidfd]
        if self._serial:
            fds.append(self._serial)
        if self._log_fd >= 0:
            fds.append(self._log_fd)
        select.select(fds, [], [], seconds)
        self._take_in()

    def _take_in(self):
        """Read what the channels hold."""
        if self.qmp:
            self.qmp.pump()
        while self._serial:
            try:
                data = self._serial.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            # The bytes themselves are in chardev's log file; here they only make room.
            if not data:
                self._serial = None
        while self._log_fd >= 0:
            try:
                data = os.read(self._log_fd, 1 << 20)
            except BlockingIOError:
                break
            if not data:
                os.close(self._log_fd)
                self._log_fd = -1
                break
            self.interrupts.add(data)

    def send(self, data):
        """Type into COM1."""
        if not self.setup.interactive:
            raise ValueError("send() needs interactive=True")
        # The guest has something to do again: what it slept before does not count as idle.
        self._still = 0
        self._halts = self.reader.halts() if self.reader else 0
        while data and self.end is None and self._serial:
            try:
                data = data[self._serial.send(data):]
            except BlockingIOError:
                self.pump()
            except OSError:
                return

    def gdb(self):
        """The connected GDB client; the machine stops when it connects."""
        if not self.setup.gdb:
            raise ValueError("gdb() needs gdb=True")
        if self._client is None:
            from .gdbremote import Client
            self._client = Client(self._stub, pump=self.pump)
        return self._client

    def _look(self):
        status = self.child.returncode()
        if status is not None:
            self._take_in()
            self._died(status)
            return
        event = self.qmp.event("SHUTDOWN")
        if event:
            self._stopped(event.get("data", {}))
            return
        pulse = self.reader.pulse() if self.reader else self.child.cpu_seconds()
        if self._standing_still(pulse):
            self._judge_halt()
        elif self.setup.idle and self.reader:
            self._judge_ticking()

    def _read_registers(self):
        try:
            self.registers = parse_registers(self.qmp.human("info registers"))
        except (QmpGone, RuntimeError):
            pass
        return self.registers

    def _judge_halt(self):
        """The CPU did nothing for a while: is it asleep, and can anything wake it?"""
        try:
            if self.setup.gdb and self.qmp.command("query-status").get("status") != "running":
                return
        except (QmpGone, RuntimeError):
            return
        registers = self._read_registers()
        if not registers.get("hlt"):
            self._still = 0
            return
        self._still += 1
        # A guest of SVM may sleep with its IF clear and be woken by an intercepted interrupt.
        deaf = not registers.get("rflags", 0) & EFLAGS_IF
        needed = IDLE_SAMPLES if registers.get("efer", 0) & EFER_SVME else DEAD_SAMPLES
        if deaf and self._still >= needed:
            self._finish(End.DEAD_HALT, "HLT with interrupts off; " + self._where())
        elif not deaf and self._still >= IDLE_SAMPLES and self.setup.idle:
            self._finish(End.IDLE, "HLT with interrupts on, and no interrupt comes; " + self._where())

    def _judge_ticking(self):
        """The CPU wakes and sleeps: does anything come of it?"""
        printed = len(self._console.data), len(self._side.data)
        halts = self.reader.halts()
        if printed != self._printed:
            self._printed, self._halts = printed, halts
        elif halts - self._halts >= self.setup.limits.quiet_halts:
            self._finish(End.IDLE, f"the CPU went to sleep {halts - self._halts} times since anything "
                                   "was printed; " + self._where())

    def _stopped(self, data):
        """QEMU reports that the guest shut down or reset the machine, and has stopped it."""
        reason = data.get("reason", "?")
        self._read_registers()
        if reason == "guest-shutdown":
            self._finish(End.SHUTDOWN, "the guest switched the machine off")
            return
        if reason != "guest-reset":
            self._finish(End.KILLED, f"QEMU was told to stop: {reason}")
            return
        try:
            # QEMU flushes its log when it ends.
            self.qmp.command("quit")
            self.child.ended(60)
        except (QmpGone, RuntimeError):
            pass
        self._take_in()
        if not self._log_has_triple_fault():
            self._finish(End.RESET, "the guest reset the machine; " + self._where())
            return
        self._finish(End.TRIPLE_FAULT, "a triple fault reset the machine; " + self._where())
        self.explanation = self._explain()

    def _log_has_triple_fault(self):
        if self.interrupts is not None:
            return "Triple fault" in self.interrupts.text()[-4000:]
        try:
            return b"Triple fault" in self.path("log").read_bytes()
        except OSError:
            return False

    def _explain(self):
        if self.interrupts is not None:
            return triplefault.explain_qemu(self.interrupts.text(), self.symbols)
        if self.setup.explain != "rerun":
            return None
        again = dataclasses.replace(self.setup, explain="live", gdb=False, paused=False,
                                    interactive=False, until=None)
        run = Live(again).wait()
        run.cleanup()
        if run.explanation is None:
            return ("The run was repeated with the log of interrupts on, but then it ended "
                    f"otherwise: {run.end.value}, {run.detail}.")
        return run.explanation

    def _died(self, status):
        """The process ended by itself. Only its exit status and the plugin's file say why."""
        verdict = self.reader.verdict() if self.reader else None
        words = self.complaint()
        if verdict == "instructions":
            self._finish(End.INSTRUCTIONS, f"{self.setup.limits.instructions} instructions ran; "
                                           + self._last_blocks())
        elif verdict == "halts":
            self._finish(End.HALTS, f"the CPU went to sleep {self.setup.limits.halts} times")
        elif not self.qmp.greeted:
            self._finish(End.TROUBLE, f"QEMU did not start (status {status}): {words}")
        elif status < 0:
            self._finish(End.KILLED, f"QEMU died of signal {-status}: {words}")
        elif status & 1 and not OWN_WORDS.search(words):
            self.code = status >> 1
            self._finish(End.SHUTDOWN, f"the guest wrote {self.code:#x} to the debug exit port")
        else:
            self._finish(End.TROUBLE, f"QEMU ended with status {status}: {words}")

    def _where(self):
        if not self.registers and self.qmp and self.child.returncode() is None:
            self._read_registers()
        return super()._where()

    def _last_blocks(self):
        """The blocks that ran last, the most frequent ones first."""
        found = self.reader.counts()
        if not found or not found.last:
            return "no block ran after the kernel's entry"
        times = {}
        for block in found.last:
            times[block] = times.get(block, 0) + 1
        best = sorted(times, key=lambda block: -times[block])[:4]
        return (f"of the last {len(found.last)} blocks " + ", ".join(
            f"{times[block]} at {self.symbols.describe(block.address)}" for block in best))

    def _close(self):
        self._take_in()
        for end in self._ours:
            end.close()
        if self._log_fd >= 0:
            os.close(self._log_fd)
            self._log_fd = -1
        if self.interrupts is not None:
            self.path("log").write_bytes(self.interrupts.data)
        self._serial = None
        self.qmp = None

    def _result(self, run):
        run.counts = self.reader.counts() if self.reader else None
        run.command = shell_command(self.setup)
        run.command_gdb = shell_command_gdb(self.setup)


def start(setup):
    """Start QEMU; raises MachineMissing."""
    text = missing()
    if text:
        raise MachineMissing(text)
    if sys.platform != "linux":
        raise MachineMissing("the harness needs Linux (pidfd, PDEATHSIG)")
    return Live(setup)
