"""Runs a build that nobody trusts: another user, no network, limits, and nothing to look at.

As root every wall stands: a user id that nobody else has, name spaces without network and with
the project's own tree hidden, resource limits, and no process left afterwards. As an ordinary user
only some walls are possible; `Sandbox.gaps` says which are missing, in words, and grade/official
prints them and puts them into the result.
"""

import os
import pwd
import random
import shlex
import shutil
import signal
import stat
import subprocess
import threading
import time
from dataclasses import dataclass

CPU_SECONDS = 300
WALL_SECONDS = 900
MEMORY = 4 << 30
FILE_BYTES = 256 << 20
OUTPUT_BYTES = 16 << 20
PROCESSES = 512
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Ids that Debian gives to nobody for good: systemd's range for users of the moment.
UID_RANGE = range(61184, 65520)


MEMORY_DEVICES = 1
"""The major number of /dev/null, zero, full, random, urandom: they answer."""


class SandboxTrouble(Exception):
    """The walls could not be built: harness trouble."""


@dataclass
class Result:
    """What a command left."""

    status: int
    output: str
    trouble: str | None = None
    late: bool = False
    """It did not end by itself: what it was given to read may be a device that never answers."""


def limits():
    """prlimit's arguments."""
    return ["prlimit", f"--cpu={CPU_SECONDS}", f"--as={MEMORY}", f"--fsize={FILE_BYTES}",
            f"--nproc={PROCESSES}", "--core=0", "--"]


def _works(command):
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _spare_uid():
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    while True:
        uid = random.SystemRandom().choice(UID_RANGE)
        if uid not in taken:
            return uid


def _silent():
    """Commands that put /dev/null over each device that anybody may read: some answer nobody, for ever."""
    found = []
    for folder, below, names in os.walk("/dev"):
        below[:] = [name for name in below if name not in ("shm", "pts")]
        for name in names:
            path = os.path.join(folder, name)
            try:
                facts = os.stat(path)
            except OSError:
                continue
            if stat.S_ISCHR(facts.st_mode) and facts.st_mode & stat.S_IROTH and os.major(facts.st_rdev) != MEMORY_DEVICES:
                found.append(f"[ ! -e {shlex.quote(path)} ] || mount --bind /dev/null {shlex.quote(path)} || exit 97\n")
    return "".join(found)


class Sandbox:
    """The walls that this machine can build. `hide` are folders the build must not see."""

    def __init__(self, hide=()):
        self.hide = [str(path) for path in hide]
        self.gaps = []
        self.uid = None
        self.prefix = []
        if shutil.which("prlimit"):
            self.limits = limits()
        else:
            self.limits = []
            self.gaps.append("no limits: `prlimit` is missing (package util-linux)")
        if os.geteuid() == 0:
            self._as_root()
        else:
            self._as_user()

    def _as_root(self):
        if not shutil.which("setpriv"):
            raise SandboxTrouble("`setpriv` is missing (package util-linux): a submission would be "
                                 "built as root")
        self.uid = _spare_uid()
        become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups",
                  "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--"]
        spaces = ["unshare", "--net", "--ipc", "--mount", "--pid", "--fork", "--kill-child"]
        if _works([*spaces, "true"]):
            cover = "".join(f"mount -t tmpfs -o size=4k,mode=755 none {shlex.quote(path)} || "
                            "exit 97\n" for path in self.hide)
            script = f"mount --make-rprivate / || exit 97\n{_silent()}{cover}exec \"$@\""
            if _works([*spaces, "sh", "-c", script, "sh", "true"]):
                self.prefix = [*spaces, "sh", "-c", script, "sh"]
            else:
                self.prefix = spaces
                self.gaps.append("the project's own tree can't be hidden from the build here "
                                 "(mounting is not allowed)")
        elif _works(["unshare", "--net", "true"]):
            self.prefix = ["unshare", "--net"]
            self.gaps.append("the project's own tree is visible to the build and processes may "
                             "outlive it (only the network name space can be made here)")
        else:
            self.gaps.append("the build has the network and sees the project's own tree: name "
                             "spaces are not allowed here")
        self.prefix += become

    def _as_user(self):
        self.gaps.append("built as the user who grades, not as another one (that needs root)")
        self.gaps.append("the project's own tree is visible to the build (hiding it needs root)")
        if _works(["unshare", "--map-current-user", "--net", "true"]):
            self.prefix = ["unshare", "--map-current-user", "--net"]
        else:
            self.gaps.append("the build has the network (user name spaces are not allowed here)")

    def own(self, tree):
        """Give a tree to the build's user, and to nobody else."""
        if self.uid is None:
            return
        for folder, _, names in os.walk(tree):
            os.chown(folder, self.uid, self.uid)
            for name in names:
                os.chown(os.path.join(folder, name), self.uid, self.uid, follow_symlinks=False)
        os.chmod(tree, 0o700)

    @staticmethod
    def environment(cwd):
        """All that a command behind the walls gets of one."""
        return {"PATH": PATH, "HOME": str(cwd), "TMPDIR": str(cwd), "LC_ALL": "C",
                "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, command, cwd):
        """Run a command behind the walls; its output and errors come back as one text."""
        return run([*self.prefix, *self.limits, *command], cwd, self.environment(cwd))


def run(command, cwd, environment):
    """Run a command in a process group of its own; whatever it started dies with it."""
    child = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True)
    output, trouble, late = bytearray(), None, False
    reader = threading.Thread(target=_listen, args=(child, output), daemon=True)
    reader.start()
    end = time.monotonic() + WALL_SECONDS
    try:
        reader.join(WALL_SECONDS)
        child.wait(max(end - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        late = True
        output += f"\n[the build was ended: it did not end within {WALL_SECONDS} seconds]\n".encode()
    finally:
        _kill_group(child)
        child.wait()
        reader.join()
    status = child.returncode
    if status == 97 and not output.strip():
        trouble = "the walls around the build could not be put up"
    if len(output) > OUTPUT_BYTES:
        status = status or 1
        output += f"\n[the build was ended: it says more than {OUTPUT_BYTES >> 20} MiB]\n".encode()
    return Result(status, output.decode("utf-8", "backslashreplace"), trouble, late)


def _listen(child, output):
    """All that it says; a compiler may be made to say anything, and for minutes, so there is an end to it."""
    with child.stdout:
        while chunk := child.stdout.read1(1 << 16):
            output += chunk
            if len(output) > OUTPUT_BYTES:
                _kill_group(child)
                return


def _kill_group(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def take_file(path, cap, what="file"):
    """The bytes of a regular file that no link led to, at most `cap` of them. ValueError if not."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ValueError(f"{what} can't be taken: {error.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError(f"{what} is no regular file")
        if facts.st_size > cap:
            raise ValueError(f"{what} has {facts.st_size} bytes; {cap} is the most")
        return file.read(cap + 1)[:cap]
