"""What a person sees of a machine: words of ours, its console, how it ended, and how one leaves it."""

import os
import select
import socket
import sys
import termios
import threading
import tty
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))

# pylint: disable=wrong-import-position
from zeno.machines import bochs, triplefault  # noqa: E402
from zeno.machines.live import Tail  # noqa: E402

LEAVE = 1  # Ctrl-A, as in QEMU
PROMPT = b"K> "


def say(text):
    """A line from us, apart from the guest's words."""
    print(f"[zeno] {text}", file=sys.stderr, flush=True)


def die(text):
    """Something on our side is wrong."""
    say(text)
    sys.exit(2)


class Faults(threading.Thread):
    """Drains a log that an emulator writes to a pipe, and keeps its end."""

    def __init__(self, bochs_log=False, cpu=""):
        super().__init__(daemon=True)
        self.read_fd, self.write_fd = os.pipe()
        self.tail = Tail()
        self.notes = []
        self._bochs = bochs_log
        # Bochs tells of a HLT with interrupts off before it looks whether it is a guest's, and intercepted.
        self._marks = (bochs.RESET, b">>PANIC<<") + ((bochs.HALT,) if cpu not in bochs.RUN_GUESTS else ())
        self._line = b""
        self.on_note = None

    def path(self):
        """What to tell the emulator, once it has inherited the descriptor."""
        return f"/dev/fd/{self.write_fd}"

    def begin(self):
        """The emulator runs: only it may hold the writing end."""
        os.close(self.write_fd)
        self.start()

    def run(self):
        while data := os.read(self.read_fd, 1 << 16):
            self.tail.add(data)
            if self._bochs:
                *lines, self._line = (self._line + data).split(b"\n")
                for line in lines:
                    self._note(line)
        os.close(self.read_fd)

    def _note(self, line):
        for mark in self._marks:
            if mark in line:
                self.notes.append(line.decode("ascii", "backslashreplace"))
                if self.on_note:
                    self.on_note(self.notes)


def report(end, detail, explanation=None):
    """Say how it ended; the exit status for that."""
    say(f"{end}: {detail}" if detail else end)
    if explanation:
        print(explanation, file=sys.stderr, flush=True)


# ---- the console ------------------------------------------------------------------------------------


class Leaving:
    """Input that is no terminal ends some day. At the next prompt behind it `off` is typed, or nobody would leave."""

    def __init__(self):
        self.over = False
        self._tail = b""

    def printed(self, data):
        """The machine has printed this."""
        self._tail = (self._tail + data)[-len(PROMPT):]

    def words(self):
        """What is to be typed now."""
        if not self.over or self._tail != PROMPT:
            return b""
        self.over = False
        say("the input has ended: `off` is typed behind it")
        return b"off\r"


class Pipe(threading.Thread):
    """COM1 at a socket of ours, where our input is no terminal: passes bytes on, each way, and leaves in the end."""

    def __init__(self):
        super().__init__(daemon=True)
        self.end, self.theirs = socket.socketpair()

    def arguments(self):
        """QEMU's."""
        return ["-chardev", f"socket,id=com1,fd={self.theirs.fileno()}", "-serial", "chardev:com1"]

    def run(self):
        # Nothing is typed before the kernel has begun to print: until then it hears nothing.
        typed, leaving, stdin = b"", Leaving(), []
        first = [sys.stdin.fileno()]
        while True:
            ready, writable, _ = select.select([self.end, *(stdin if len(typed) < 4096 else [])],
                                               [self.end] if typed else [], [])
            if self.end in ready:
                try:
                    data = self.end.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    return
                os.write(sys.stdout.fileno(), data)
                leaving.printed(data)
                stdin, first = stdin + first, []
            if writable:
                typed = typed[self.end.send(typed[:256]):]
            if stdin and stdin[0] in ready:
                data = os.read(stdin[0], 1024)
                typed += data
                if not data:
                    stdin, leaving.over = [], True
            if not typed:
                typed = leaving.words()


def relay(master, process):
    """Pass bytes between this terminal and the guest's; True if the person left."""
    stdin = sys.stdin.fileno()
    saved = termios.tcgetattr(stdin) if os.isatty(stdin) else None
    sources, first = [master], [stdin]  # before it prints the kernel hears nothing
    escaped, leaving = False, Leaving()
    try:
        if saved:
            tty.setraw(stdin)
        while True:
            ready, _, _ = select.select(sources, [], [], 0.1)
            if master in ready:
                data = os.read(master, 65536)
                os.write(sys.stdout.fileno(), data)
                leaving.printed(data)
                sources, first = sources + first, []
            elif process.poll() is not None:
                return False
            if stdin in ready:
                data = os.read(stdin, 1024)
                if not data:
                    sources.remove(stdin)
                    leaving.over = True
                if escaped and data[:1] in b"xX":
                    return True
                escaped = data[-1:] == bytes([LEAVE])
                os.write(master, data.replace(bytes([LEAVE]), b""))
            os.write(master, leaving.words())
    except OSError:
        return False
    finally:
        if saved:
            termios.tcsetattr(stdin, termios.TCSADRAIN, saved)


# ---- how Bochs ended --------------------------------------------------------------------------------


def over(notes):
    """True when Bochs' log says that the machine will do nothing more (it may not end by itself)."""
    resets = sum("bx_pc_system_c::Reset(" in note for note in notes)
    return resets > 1 or any(bochs.HALT.decode() in note for note in notes)


def bochs_verdict(faults, symbols, status, directory):
    """Say how Bochs ended; the exit status."""
    text = faults.tail.text()
    words = triplefault.explain_bochs(text, symbols)
    notes = "\n".join(faults.notes)
    if words:
        report("the machine stopped", "", words)
        return 1
    if bochs.POWER_OFF.decode() in notes:
        report("shutdown", "")
        return 0
    if bochs.HALT.decode() in notes:
        report("dead halt", "HLT with interrupts off")
        return 1
    if notes.count("bx_pc_system_c::Reset(") > 1:
        report("the guest asked for a reset", "")
        return 1
    out = (directory / "out").read_bytes()[-600:].decode("utf-8", "backslashreplace")
    report("Bochs ended", f"status {status}: {out}")
    return 2
