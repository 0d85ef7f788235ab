"""Emulators that are linked once: from the second run on, a program's runs are forks of one process (grade/linked/linked.c).

Linking is half of what a short run costs. Where it can't be done so (another C library, no compiler, a program that is a
script), each run is a Child of its own, and nothing else differs.
"""

import atexit
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading

from . import library
from .process import LARGE_PAGES, Child

FIRST_FD = 600
MAX_FDS = 16
MAX_WORDS = 500
MOST = 100 << 10
REQUEST, ENDED = struct.Struct(f"=II{MAX_FDS}i"), struct.Struct("=iid")
"""The layouts of linked.c."""


class Unlinked(Exception):
    """It must be started as any other program."""


class LinkedChild(Child):
    """A run that was forked from a linked program: it dies with us, and its end comes by a pipe."""

    def __init__(self, pid, end):  # pylint: disable=super-init-not-called
        self.pid = pid
        self.pidfd = end
        """Readable when the run has ended."""
        self.channel = None
        self._status = None
        self._cpu = 0.0

    def returncode(self):
        if self._status is None and self.ended(0):
            self._collect()
        return self._status

    def ended(self, seconds):
        return self._status is not None or super()._ready(seconds)

    def _collect(self):
        told = os.read(self.pidfd, ENDED.size)
        if len(told) < ENDED.size:  # the linked program itself was killed, and the run with it
            self._status = -signal.SIGKILL
            return
        status, _, self._cpu = ENDED.unpack(told)
        self._status = os.waitstatus_to_exitcode(status)

    def kill(self):
        if self._status is None and not self.ended(0):
            self._bill()
            for kill in os.killpg, os.kill:  # it may not yet have a group of its own
                try:
                    kill(self.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        if self._status is None:
            self._collect()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def preloaded(*first):
    """What lets an emulator write some bytes at a time (grade/plugin/written.c), as far as that can be compiled here."""
    found = [str(one) for one in (*first, library.built("plugin/written")) if one]
    return {"LD_PRELOAD": ":".join(found)} if found else {}


class Linked:
    """One program, linked and waiting where its main() would begin."""

    def __init__(self, program, env):
        loaded = library.built("linked/linked")
        with open(program, "rb") as file:
            if loaded is None or file.read(4) != b"\x7fELF":
                raise Unlinked()
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Who does not load the library prints its version, and is gone.
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [program, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], start_new_session=True,
                env={**env, **preloaded(loaded), "ZENO_LINKED": str(theirs.fileno())})
        if not self.socket.recv(4):
            self.close()
            raise Unlinked()

    def close(self):
        """End it, and what still runs; the kernel bills us for it all now."""
        self.socket.close()
        self.process.wait()

    def run(self, argv, files, cwd, cpu_seconds):
        """Fork a run; `files` is {number there: file here}. A LinkedChild."""
        words = b"".join(os.fsencode(word) + b"\0" for word in (cwd, *argv))
        if len(files) >= MAX_FDS or max(files) >= FIRST_FD or len(words) > MOST or len(argv) > MAX_WORDS:
            raise Unlinked()
        end, theirs = os.pipe()
        try:
            targets = [*files, *[0] * (MAX_FDS - len(files))]
            head = REQUEST.pack(int(cpu_seconds or 0), len(files) + 1, *targets)
            socket.send_fds(self.socket, [head + words], [*files.values(), theirs])
            pid = struct.unpack("=i", self.socket.recv(4))[0]
        except (OSError, struct.error):
            pid = -1
        os.close(theirs)
        if pid < 0:
            os.close(end)
            raise Unlinked()
        return LinkedChild(pid, end)


class Programs:
    """What has been started in this process: {(program, environment): how often, or what became of its second start}."""

    def __init__(self):
        self.lock = threading.Lock()
        self.known = {}

    def of(self, name, env):
        """The linked program; Unlinked where it is the first start, or can't be."""
        program = shutil.which(name, path=env.get("PATH"))
        key = program, tuple(sorted(env.items()))
        if program is None or key not in self.known:
            self.known[key] = None
            raise Unlinked()
        if self.known[key] is None:
            try:
                self.known[key] = Linked(program, env)
            except (Unlinked, OSError):
                self.known[key] = False
        if not self.known[key]:
            raise Unlinked()
        return self.known[key]

    def close(self):
        """At our end."""
        for one in self.known.values():
            if one:
                one.close()


PROGRAMS = Programs()
atexit.register(PROGRAMS.close)


def start(argv, *, stdout, stderr, cwd, cpu_seconds=None, pass_fds=()):
    """A Child: forked from the linked program, or started as any other."""
    env = {**LARGE_PAGES, **os.environ}
    with PROGRAMS.lock, open(os.devnull, "rb") as nothing:
        try:
            files = {0: nothing.fileno(), 1: stdout.fileno(), 2: stderr.fileno()} | {number: number for number in pass_fds}
            return PROGRAMS.of(argv[0], env).run(argv, files, cwd, cpu_seconds and cpu_seconds + 30)
        except Unlinked:
            pass
    return Child(argv, stdout=stdout, stderr=stderr, cwd=cwd, cpu_seconds=cpu_seconds, pass_fds=pass_fds,
                 env={**os.environ, **preloaded()})
