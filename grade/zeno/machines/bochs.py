"""The driver for Bochs 2.7 as Debian builds it (with its internal debugger, without a GDB stub).

The guest's bytes: COM1 goes to a file; port 0xE9 comes out on stdout, where the debugger talks
too (that is cut off). The log goes through a pipe of which we keep the end, and is read on the way:
it says when the CPU halts with interrupts off, resets, or triple-faults.

With paused=True the debugger obeys bochsdebug.Client instead. Else it only bounds the run: `lb 0x7c00`, `c`, then `s N` steps N instructions from the boot
sector on, so the limit never depends on how busy this machine is. It keeps N in 32 bits, so a long
run takes several steps. A sleeping CPU executes nothing but costs CPU time, and is bounded by CPU
seconds.
"""

import ctypes
import dataclasses
import os
import re
import select
import shlex
import shutil
import subprocess
from pathlib import Path

from . import triplefault
from .bochsdebug import Client
from .live import LiveBase, Tail
from .machine import Counts, End, MachineMissing, cpu_string, has_cpu
from .qemu import RUN_PY, shell_command_gdb

PROGRAM = "bochs"
PLUGINS = Path("/usr/lib/x86_64-linux-gnu/bochs/plugins")
BIOS = Path("/usr/share/bochs/BIOS-bochs-latest")
VGA_BIOS = [Path("/usr/share/vgabios/vgabios.bin"), Path("/usr/share/bochs/VGABIOS-lgpl-latest")]
CYLINDER = 16 * 63 * 512
NEVER = 10 ** 13
STEP = 2 * 10 ** 9
"""Instructions in one command of the debugger's, which takes N modulo 2^32."""
QUIET_SECONDS = 3.0
"""A CPU that runs guests is taken for halted for good when it has said nothing for so many seconds of Bochs' CPU time."""
_LIBC = ctypes.CDLL(None)
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000

HALT = b"HLT instruction with IF=0"
DEAD = "HLT with interrupts off"
RUN_GUESTS = ("svm", "vmx")
FIFO = 17
"""Bytes that the UART may still hold when the CPU halts."""
RESET = b"bx_pc_system_c::Reset("
THIRD = b"3rd ("
BOOTING = b"Booting from"
POWER_OFF = b"hutdown"

# The debugger's words when it stops or dies; the guest's last line may be unfinished before them.
STEPPED = re.compile(rb"Next at t=\d+\n\(0\) \[0x[^\n]*\n(?!CPU0:)")
STOPPED = re.compile(rb"(Next at t=\d+\n\(0\) \[0x|\(0\)\.\[\d+\] \[0x|=+\nBochs is exiting)")

RC = """\
megs: {mem}
romimage: file={bios}
vgaromimage: file={vga}
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, mode=flat, path="{disk}", cylinders={cylinders}, heads=16, spt=63
boot: disk
cpu: count=1, ips=10000000, reset_on_triple_fault=0, {cpu}
clock: sync={sync}, time0=946684800
display_library: rfb, options="timeout=0"
port_e9_hack: enabled={e9}
com1: enabled=1, mode=file, dev="{console}"
log: {log}
logprefix: %t%e%d
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore{debug}
speaker: enabled=0
# Not the default: looking for a sound card makes Debian's build die of a buffer overflow.
sound: driver=dummy, waveoutdrv=dummy
"""


def missing():
    """None, or what to install."""
    if not shutil.which(PROGRAM):
        return "bochs is not here; install the packages bochs, bochsbios, vgabios"
    if not BIOS.exists() or not any(path.exists() for path in VGA_BIOS):
        return "Bochs has no BIOS here; install the packages bochsbios and vgabios"
    if not list(PLUGINS.parent.parent.glob("bochs/plugins/libbx_rfb_gui.so*")):
        return "Bochs has no headless display here (libbx_rfb_gui.so)"
    return None


def version():
    """`Bochs 2.7`, or None."""
    if missing():
        return None
    done = subprocess.run([PROGRAM, "--help"], stdin=subprocess.DEVNULL, capture_output=True,
                          check=False)
    found = re.search(rb"Bochs x86 Emulator (\S+)", done.stdout + done.stderr)
    return f"Bochs {found[1].decode('ascii', 'replace')}" if found else "Bochs"


def geometry(size):
    """(cylinders, heads, sectors of a track) whose product is a drive of so many bytes, as Bochs wants of a flat image; None: it has none."""
    sectors, rest = divmod(size, 512)
    if not sectors or rest:
        return None
    heads, track = max(((h, t) for h in range(1, 17) for t in range(1, 64) if sectors % (h * t) == 0), key=lambda one: one[0] * one[1])
    return sectors // (heads * track), heads, track


def bochsrc(setup, directory, log, console, debug, sync="none"):
    """Write bochsrc and a copy of the disk into `directory`; the path of the bochsrc.

    The copy keeps Bochs' lock file and the guest's writes away from the original, and is padded to
    whole cylinders. With sync="slowdown" a machine that waits for somebody outside sleeps where it would spin.
    """
    disk = directory / "disk.img"
    shutil.copyfile(setup.disk, disk)
    cylinders = max(2, -(-disk.stat().st_size // CYLINDER))
    os.truncate(disk, cylinders * CYLINDER)
    path = directory / "bochsrc"
    text = RC.format(mem=setup.mem, bios=BIOS, vga=next(p for p in VGA_BIOS if p.exists()),
                     disk=disk, cylinders=cylinders, cpu=cpu_string("bochs", setup.cpu),
                     sync=sync, console=console, log=log, e9=int(not setup.gdb),
                     debug=", cpu0=report" if debug else "")
    path.write_text(text + "".join(f"{line}\n" for line in setup.extra), encoding="utf-8")
    return path


def shell_command(setup):
    """A line for the shell that boots the same image on Bochs."""
    argv = ["python3", os.path.relpath(RUN_PY), "--machine", "bochs", "--cpu", setup.cpu,
            "--mem", str(setup.mem), "--disk", str(setup.disk)]
    for path in setup.elf:
        argv += ["--elf", str(path)]
    return shlex.join(argv)


def shell_command_stopped(setup):
    """The same stopped, for who wants to look: on QEMU under GDB; what that has no CPU for in Bochs' own debugger."""
    if has_cpu("qemu", setup.cpu):
        return shell_command_gdb(setup)
    return shell_command(setup).replace("--machine bochs", "--debugger")


def hide_network():
    """Called in the child: rfb listens on the first free port from 5900 on, so give it a network
    of its own where nobody else is. Where that is not allowed, it shares ours."""
    _LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNET)


class Live(LiveBase):
    """A Bochs that runs."""

    machine = "bochs"
    side_name = "stdout"

    def __init__(self, setup):
        self.log = Tail(4 << 20 if setup.explain == "live" else 1 << 20)
        self._log_fd = -1
        self._line = b""
        self._resets = 0
        self._booting = False
        self._events = []
        self._halted = None
        self._client = None
        self._ask = None
        super().__init__(setup)

    def _launch(self):
        setup = self.setup
        if setup.watch or setup.exact or setup.interactive or setup.icount:
            raise MachineMissing("Bochs has no watch, exact, interactive or icount")
        if setup.gdb and not setup.paused:
            raise MachineMissing("Bochs' debugger can't stop a machine that runs: paused=True")
        self._log_fd, pipe = os.pipe()
        os.set_blocking(self._log_fd, False)
        rc = bochsrc(setup, self.directory, f"/dev/fd/{pipe}", self.path("console"),
                     setup.explain == "live")
        if setup.gdb:
            asked, ask = os.pipe()
            self._ask = os.fdopen(ask, "wb")
            self._spawn([PROGRAM, "-q", "-f", str(rc), "-rc", f"/dev/fd/{asked}"], pass_fds=[pipe, asked],
                        in_child=hide_network, env=os.environ | {"TERM": "dumb"}, channel=True)
            os.close(pipe)
            os.close(asked)
            return
        commands = self.path("commands")
        steps = "".join(f"s {number}\n" for number in steps_of(setup.limits.instructions or NEVER))
        commands.write_text(f"lb 0x7c00\nc\nd 1\n{steps}r\nptime\nq\n", encoding="ascii")
        self._spawn([PROGRAM, "-q", "-f", str(rc), "-rc", str(commands)], pass_fds=[pipe],
                    env=os.environ | {"TERM": "dumb"}, in_child=hide_network)
        os.close(pipe)

    def _wait(self, seconds):
        fds = [self.child.pidfd] + ([self._log_fd] if self._log_fd >= 0 else [])
        select.select(fds, [], [], seconds)
        self._take_in()

    def _take_in(self):
        while self._log_fd >= 0:
            try:
                data = os.read(self._log_fd, 1 << 20)
            except BlockingIOError:
                return
            if not data:
                os.close(self._log_fd)
                self._log_fd = -1
                return
            self.log.add(data)
            *lines, self._line = (self._line + data).split(b"\n")
            for line in lines:
                self._read_line(line)

    def _read_line(self, line):
        """Note what the log says about the end of the run."""
        if BOOTING in line and b"[BIOS" in line:
            self._booting = True
        elif RESET in line:
            self._resets += 1
            if self._resets > 1:
                self._events.append((End.RESET, "the guest reset the machine"))
        elif HALT in line and b"[CPU" in line:
            self._note_halt()
        elif b">>PANIC<<" in line and THIRD in line:
            self._events.append((End.TRIPLE_FAULT, "a triple fault stopped the machine"))
        elif b">>PANIC<<" in line and POWER_OFF in line:
            self._events.append((End.SHUTDOWN, 'the guest wrote "Shutdown" to port 0x8900'))
        elif b">>PANIC<<" in line:
            text = line.decode("ascii", "backslashreplace")
            self._events.append((End.TROUBLE, f"Bochs gave up: {text}"))
        elif b"[CPU" in line:
            self._halted = None

    def _note_halt(self):
        """Bochs says it before it looks whether the HLT is a guest's, which its host intercepts and goes on from."""
        if self.setup.cpu in RUN_GUESTS:
            self._halted = self._sign_of_life()
        else:
            self._events.append((End.DEAD_HALT, DEAD))

    def _sign_of_life(self):
        self._console.pump()
        self._side.pump()
        return len(self._console.data), len(self._side.data), self.child.cpu_seconds()

    def _look_at_halt(self):
        """Silence behind a HLT with interrupts off is its end, a word is not."""
        if not self._halted:
            return
        console, side, now = self._sign_of_life()
        if console > self._halted[0] + FIFO or side > self._halted[1]:
            self._halted = None
        elif now - self._halted[2] >= QUIET_SECONDS:
            self._events.append((End.DEAD_HALT, DEAD))

    def _look(self):
        status = self.child.returncode()
        if status is not None:
            self._take_in()
        else:
            self._look_at_halt()
        for end, detail in self._events:
            self._end_with(end, detail)
            return
        if status is None:
            return
        if status < 0:
            self._finish(End.KILLED, f"Bochs died of signal {-status}: {self.complaint()}")
        elif status == 0:
            self.registers = triplefault.bochs_registers(self._stdout_tail())
            self._finish(End.INSTRUCTIONS, f"{self.setup.limits.instructions} instructions ran; "
                                           + self._where())
        elif not self._booting:
            self._finish(End.TROUBLE, f"Bochs did not start (status {status}): {self.complaint()}")
        else:
            self._finish(End.TROUBLE, f"Bochs ended with status {status}: {self.complaint()}")

    def _end_with(self, end, detail):
        self.child.ended(0.2)
        self._take_in()
        if end is not End.TRIPLE_FAULT:
            self._finish(end, detail)
            return
        self.child.ended(10)
        self._take_in()
        text = self.log.text()
        self.registers = triplefault.bochs_registers(text)
        self._finish(end, f"{detail}; {self._where()}")
        if self.setup.explain == "live":
            self.explanation = triplefault.explain_bochs(text, self.symbols)
        elif self.setup.explain == "rerun":
            self.explanation = self._explain_again()

    def _explain_again(self):
        run = Live(dataclasses.replace(self.setup, explain="live", until=None)).wait()
        run.cleanup()
        return run.explanation or ("The run was repeated with the log of exceptions on, but then it "
                                   f"ended otherwise: {run.end.value}, {run.detail}.")

    def _stdout_tail(self):
        try:
            return self.path("stdout").read_bytes()[-8192:].decode("ascii", "backslashreplace")
        except OSError:
            return ""

    def gdb(self):
        """The client of the debugger; the machine stands at the boot sector then."""
        if not self.setup.gdb:
            raise ValueError("gdb() needs paused=True")
        if self._client is None:
            self._client = Client(self, self._ask, self.child.channel)
        return self._client

    def over_limit(self):
        """The debugger's time is up: all instructions of the run's limit have run."""
        self._finish(End.INSTRUCTIONS, f"{self.setup.limits.instructions} instructions ran")

    def _close(self):
        self._take_in()
        if self._log_fd >= 0:
            os.close(self._log_fd)
            self._log_fd = -1
        self.path("log").write_bytes(self.log.data)

    def _result(self, run):
        run.side = b"" if self.setup.gdb else side_bytes(run.side, len(steps_of(self.setup.limits.instructions or NEVER)) - 1)
        run.command = shell_command(self.setup)
        run.command_gdb = shell_command_stopped(self.setup)


def steps_of(number):
    """A number of instructions as the debugger's `s` can take it: a list."""
    whole, rest = divmod(number, STEP)
    return [STEP] * whole + [rest] * bool(rest)


def side_bytes(stdout, between):
    """
    What the guest wrote to port 0xE9, without what the debugger says before and after it, and at no more than `between` stops
    in the middle.
    """
    stdout = re.sub(rb"\n=+\nBochs is exiting[^=]*=+\n", b"", stdout)
    start = stdout.find(b"Next at t=")
    for _ in range(2):
        # Two stops come before the guest's own bytes: the first instruction, and the boot sector.
        at = stdout.find(b"\n(0) [", max(start, 0))
        if at < 0:
            break
        start = stdout.find(b"\n", at + 1) + 1
    body = stdout[max(start, 0):]
    body = STEPPED.sub(b"", body, between) if between else body
    stopped = STOPPED.search(body)
    return body[:stopped.start()] if stopped else body


def start(setup):
    """Start Bochs; raises MachineMissing."""
    text = missing()
    if text:
        raise MachineMissing(text)
    return Live(setup)
