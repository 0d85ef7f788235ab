"""What the drivers share: a running machine, its limits, and how a run is ended once and for all."""

import subprocess
import tempfile
import time
from pathlib import Path

from .machine import End, Run
from .process import Child
from .symbols import Symbols

PUMP_SECONDS = 0.05
SAMPLE_SECONDS = 0.1
SPIN_SECONDS = 0.05
"""An emulator that keeps its own time (icount) and used so much of a CPU for no instruction has nothing to run."""
DEAD_SAMPLES = 2
IDLE_SAMPLES = 20
TAIL_BYTES = 512 << 10


LOST = []
"""What machines of this process were to boot, and was not there: it explains what goes wrong behind that."""

class Tail:
    """The last bytes of a stream; for logs that may be endless."""

    def __init__(self, size=TAIL_BYTES):
        self.size = size
        self.data = bytearray()

    def add(self, data):
        """Append, and forget what is too old."""
        self.data += data
        if len(self.data) > 2 * self.size:
            del self.data[:-self.size]

    def text(self):
        """What is left, as text."""
        return self.data.decode("ascii", "backslashreplace")


class Growing:
    """A file that another process appends to, read piece by piece up to a cap."""

    def __init__(self, path, cap):
        self.cap = cap
        self.data = bytearray()
        self.file = open(path, "rb")  # pylint: disable=consider-using-with

    def pump(self):
        """Read what is new; True if there is more than the cap."""
        self.data += self.file.read(self.cap + 1 - len(self.data))
        return len(self.data) > self.cap

    def close(self):
        """Close the file; the data stay."""
        self.file.close()


class LiveBase:
    """A machine that runs. A driver adds _launch, _wait, _look, _close and _result."""

    machine = "?"
    side_name = "side"

    def __init__(self, setup):
        self.setup = setup
        self.symbols = Symbols(setup.elf)
        self.directory = Path(tempfile.mkdtemp(prefix="zeno-"))
        self.end = None
        self.code = None
        self.detail = ""
        self.explanation = None
        self.registers = {}
        self.child = None
        self._run = None
        self._seen = 0
        self._started_at = time.monotonic()
        self._sampled_at = self._started_at
        self._still = 0
        self._pulse = None
        self._spent = 0.0
        console, side = self.path("console"), self.path(self.side_name)
        console.touch()
        side.touch()
        self._console = Growing(console, setup.limits.console_bytes)
        self._side = Growing(side, setup.limits.side_bytes)
        lost = [str(path) for path in self._files() if not Path(path).is_file()]
        if lost:
            LOST.extend(lost)
            self._finish(End.TROUBLE, f"{', '.join(lost)}: there is no such file to boot")
            return
        try:
            self._launch()
        except BaseException:
            self._drop()
            raise

    def path(self, name):
        """A file in the run's own directory."""
        return self.directory / name

    def _files(self):
        """What the machine is to boot."""
        setup = self.setup
        return [path for path in (setup.kernel, setup.disk, *(path for path, _ in setup.modules)) if path]

    # The driver's part.

    def _launch(self):
        raise NotImplementedError

    def _wait(self, seconds):
        """Wait for something to happen, take in what has arrived."""
        raise NotImplementedError

    def _look(self):
        """Judge the machine; end it with self._finish() if it is over."""
        raise NotImplementedError

    def _close(self):
        """The process is gone: take in what is left, close what is open."""
        raise NotImplementedError

    def _result(self, run):
        """Fill in the driver's part of the Run."""
        raise NotImplementedError

    # The user's part.

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.end is None:
            self._finish(End.KILLED, "the harness dropped the machine")

    def console(self):
        """COM1's bytes so far."""
        self._console.pump()
        return bytes(self._console.data)

    def pump(self, seconds=PUMP_SECONDS):
        """Let the machine run for a moment and enforce the limits; False if it has ended."""
        if self.end is not None:
            return False
        self._wait(seconds)
        self._check_output()
        if self.end is None:
            self._look()
        if self.end is None:
            self._check_time()
        return self.end is None

    def wait_for(self, text):
        """Run until `text` is printed after all earlier matches; False if the run ends first."""
        while True:
            running = self.pump()
            at = self._console.data.find(text, self._seen)
            if at >= 0:
                self._seen = at + len(text)
                return True
            if not running:
                return False

    def stop(self, end=End.UNTIL, detail="the harness has seen what it wanted to see"):
        """End the run now."""
        if self.end is None:
            self._finish(end, detail)

    def wait(self):
        """Wait for the end; the Run."""
        while self.pump():
            pass
        if self._run is None:
            self._run = Run(machine=self.machine, end=self.end, detail=self.detail,
                            console=bytes(self._console.data[:self._console.cap]),
                            side=bytes(self._side.data[:self._side.cap]), code=self.code,
                            explanation=self.explanation, registers=self.registers,
                            cpu_seconds=self.child.cpu_seconds() if self.child else 0.0, directory=self.directory)
            self._run.logs = {name: self.path(name)
                              for name in ("console", "side", "log", "stderr")
                              if self.path(name).exists()}
            self._result(self._run)
        return self._run

    # The limits.

    def _check_output(self):
        limits = self.setup.limits
        if self._console.pump():
            self._finish(End.FLOOD, f"more than {limits.console_bytes} bytes on the console")
        elif self._side.pump():
            self._finish(End.FLOOD, f"more than {limits.side_bytes} bytes on port 0xE9")
        elif self.setup.until:
            for text in self.setup.until:
                if text in self._console.data:
                    self._finish(End.UNTIL, f"{text!r} was printed")
                    return

    def _check_time(self):
        limits = self.setup.limits
        if limits.cpu_seconds is not None and self.child.cpu_seconds() > limits.cpu_seconds:
            self._finish(End.CPU, f"{self.machine} has used {limits.cpu_seconds:g} CPU seconds; "
                                  + self._where())
        elif time.monotonic() - self._started_at > limits.wall_seconds:
            self._finish(End.TROUBLE, f"no end within {limits.wall_seconds:g} seconds of wall time, "
                                      f"{self.child.cpu_seconds():.1f} of them on a CPU")

    def _where(self):
        """Where the CPU is, in words; for a run that had to be ended."""
        rip = self.registers.get("rip")
        return "rip is not known" if rip is None else f"rip {self.symbols.describe(rip)}"

    def _standing_still(self, pulse):
        """True once per sample interval if the CPU executed nothing since the last sample.

        An emulator that had no turn did not execute anything, either: so it must sleep, or with icount, where it never
        does (time goes on as fast as it can while the CPU sleeps), have been at it.
        """
        now = time.monotonic()
        if now - self._sampled_at < SAMPLE_SECONDS:
            return False
        self._sampled_at = now
        spent = self.child.cpu_seconds()
        spins = self.setup.icount and spent - self._spent >= SPIN_SECONDS
        still = pulse == self._pulse and (spins or self.child.sleeps())
        if pulse != self._pulse or spins:
            self._spent = spent
        self._pulse = pulse
        if not still:
            self._still = 0
        return still

    def _finish(self, end, detail):
        if self.end is not None:
            return
        self.end, self.detail = end, detail
        self._drop()

    def _drop(self):
        if self.child:
            self.child.kill()
        self._close()
        self._console.pump()
        self._side.pump()
        self._console.close()
        self._side.close()

    def _spawn(self, argv, start=Child, channel=False, **more):
        """Start the emulator; its output goes to files, or with `channel` through a pipe to us."""
        with open(self.path("stdout"), "wb") as out, open(self.path("stderr"), "wb") as err:
            self.child = start(argv, stdout=subprocess.PIPE if channel else out, stderr=err, cwd=self.directory,
                               cpu_seconds=self.setup.limits.cpu_seconds, **more)

    def complaint(self):
        """The last lines of the emulator's own error output, on one line."""
        try:
            text = self.path("stderr").read_bytes()[-2000:].decode("utf-8", "backslashreplace")
        except OSError:
            return ""
        return "; ".join(line.strip() for line in text.splitlines()[-5:] if line.strip())
