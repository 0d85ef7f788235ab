"""A child process that can't outlive us, can't run away, and is billed in CPU seconds."""

import ctypes
import os
import resource
import select
import signal
import subprocess

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_TICKS = os.sysconf("SC_CLK_TCK")
FILE_BYTES = 1 << 30
LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"}
"""An emulator's start is page faults in great part: its heap lies in large pages, where the kernel gives them on demand, and
is one: each thread's own would begin with a large page, of which it needs a little."""


def die_with_parent():
    """Called in a child before exec: the kernel kills it when our thread goes away."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _before_exec(cpu_seconds, in_child):
    """Runs in the child between fork and exec: die with the parent, respect hard limits."""
    if in_child:
        in_child()  # first: the kernel forgets the next setting when credentials change
    die_with_parent()
    if cpu_seconds is not None:
        # A backstop in the kernel, should the harness itself hang; it comes after our own check.
        hard = int(cpu_seconds) + 30
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Child:
    """One started program: a process group of its own.

    It dies when the thread that started it does (that is how the kernel defines "parent").
    """

    def __init__(self, argv, *, stdout, stderr, cwd, cpu_seconds=None, pass_fds=(), stdin=None,
                 env=None, in_child=None):
        self.process = subprocess.Popen(
            argv, stdin=stdin or subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=cwd,
            pass_fds=pass_fds, start_new_session=True, env={**LARGE_PAGES, **(env or os.environ)},
            preexec_fn=lambda: _before_exec(cpu_seconds, in_child))
        self.channel = self.process.stdout
        """A pipe from the program, where PIPE was asked for."""
        self.pid = self.process.pid
        self.pidfd = os.pidfd_open(self.pid)
        self._cpu = 0.0

    def returncode(self):
        """The exit status, negative for a signal; None while it runs."""
        if self.process.returncode is None and self.ended(0):
            self._bill()
            self.process.wait()
        return self.process.returncode

    def ended(self, seconds):
        """Wait up to `seconds`; True if the process has ended."""
        return self.process.returncode is not None or self._ready(seconds)

    def _ready(self, seconds):
        ready, _, _ = select.select([self.pidfd], [], [], seconds)
        return bool(ready)

    def _bill(self):
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                words = file.read().rpartition(b")")[2].split()
        except OSError:
            return
        self._cpu = max(self._cpu, (int(words[11]) + int(words[12])) / _TICKS)

    def cpu_seconds(self):
        """User and system time of the process so far."""
        if self.returncode() is None:
            self._bill()
        return self._cpu

    def sleeps(self):
        """True if every thread sleeps: nothing in the process is ready to run."""
        try:
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                with open(f"/proc/{self.pid}/task/{thread}/stat", "rb") as file:
                    if file.read().rpartition(b")")[2].split()[0] not in (b"S", b"I"):
                        return False
        except (OSError, IndexError):
            return False
        return True

    def kill(self):
        """Kill the whole group and collect the process. Harmless when it is dead already."""
        if self.process.returncode is None:
            self._bill()
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
