#!/usr/bin/env python3
"""Runs a kernel on an emulator for a person: `make qemu`, `make bochs`, `make gdb` are this.

    run.py --kernel build/lab1/zeno.mb --elf build/lab1/zeno.elf \\
           --module "build/guest/hello.elf" --append "-- start hello"
    run.py --disk image.img                    the same machine from a disk image
    run.py --machine bochs --kernel ...        on Bochs (an image is made on the way)
    run.py --gdb --kernel ...                  stopped, with GDB attached; symbols of each --elf
    run.py --gdb --batch script.gdb ...        GDB runs a script instead of talking
    run.py --gdb --reverse ...                 QEMU records a run first, and GDB can go backwards in it
    run.py --gdb --stub zeno --kernel ...      GDB on the guests, through the kernel's own stub (COM2),
                                               on QEMU or, with --machine bochs, on Bochs
    run.py --debugger --kernel ...             Bochs' own debugger in this terminal

The console is your terminal. If the machine resets although nobody asked for it, a triple fault for
one, the whole chain of faults is printed in words.

The exit status is 0 if the machine was shut down in order (debug exit code 0) or you left it, else
1; 2 if it could not be started.
"""

import argparse
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import tty
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))

# pylint: disable=wrong-import-position
from zeno.machines import bochs, machine, qemu, triplefault  # noqa: E402
from zeno.machines.live import Tail  # noqa: E402
from zeno.machines.process import die_with_parent  # noqa: E402
from zeno.machines.qmp import Qmp  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

import reverse  # noqa: E402

LEAVE = 1  # Ctrl-A, as in QEMU
GDB_INIT = """\
set pagination off
set confirm off
set architecture i386:x86-64
{symbols}
target remote {socket}
"""


def say(text):
    """A line from us, apart from the guest's words."""
    print(f"[zeno] {text}", file=sys.stderr, flush=True)


def die(text):
    """Something on our side is wrong."""
    say(text)
    sys.exit(2)


class Faults(threading.Thread):
    """Drains a log that an emulator writes to a pipe, and keeps its end."""

    def __init__(self, bochs_log=False):
        super().__init__(daemon=True)
        self.read_fd, self.write_fd = os.pipe()
        self.tail = Tail()
        self.notes = []
        self._bochs = bochs_log
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
        for mark in (bochs.HALT, bochs.RESET, b">>PANIC<<"):
            if mark in line:
                self.notes.append(line.decode("ascii", "backslashreplace"))
                if self.on_note:
                    self.on_note(self.notes)


def report(end, detail, explanation=None):
    """Say how it ended; the exit status for that."""
    say(f"{end}: {detail}" if detail else end)
    if explanation:
        print(explanation, file=sys.stderr, flush=True)


# ---- QEMU -------------------------------------------------------------------------------------------


def qemu_argv(setup, faults, monitor_fd):
    """QEMU's arguments but for the console and the stub."""
    argv = qemu.boot_argv(setup)
    argv += ["-no-shutdown", "-chardev", f"socket,id=qmp,fd={monitor_fd}",
             "-mon", "chardev=qmp,mode=control"]
    if faults:
        argv += ["-d", "int,cpu_reset", "-D", faults.path()]
    return argv


class Qemu:
    """A QEMU that a person talks to."""

    def __init__(self, setup, console, explain, linger=False, pass_fds=()):
        """`linger` leaves the machine standing after a reset, for GDB to look at."""
        self.linger = linger
        self.symbols = Symbols(setup.elf)
        self.faults = Faults() if explain else None
        ours, theirs = socket.socketpair()
        argv = qemu_argv(setup, self.faults, theirs.fileno()) + console
        fds = [theirs.fileno(), *pass_fds] + ([self.faults.write_fd] if self.faults else [])
        self.process = subprocess.Popen(argv, pass_fds=fds, preexec_fn=die_with_parent,
                                        stdin=None if "mon:stdio" in console
                                        else subprocess.DEVNULL,
                                        # Ctrl-C in the terminal is GDB's, and no end of the machine
                                        start_new_session="mon:stdio" not in console)
        theirs.close()
        if self.faults:
            self.faults.begin()
        self.qmp = Qmp(ours, lambda: self.process.poll() is None)
        self.verdict = None

    def watch(self):
        """Wait for the end; the exit status. The machine stands still after a reset."""
        try:
            self.qmp.hello()
        except Exception:  # pylint: disable=broad-except
            pass
        while self.process.poll() is None:
            select.select([self.qmp], [], [], 0.2)
            self.qmp.pump()
            event = self.qmp.event("SHUTDOWN")
            if event:
                return self._stopped(event.get("data", {}).get("reason"))
        return self._exited(self.process.returncode)

    def _quit(self):
        try:
            self.qmp.command("quit")
        except Exception:  # pylint: disable=broad-except
            self.process.kill()
        self.process.wait()
        if self.faults:
            self.faults.join(10)

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
            report("the machine reset itself", where, words)
        else:
            report("the guest asked for a reset", where)
        return 1

    def _exited(self, status):
        if status & 1 and status > 0 and self.qmp.greeted:
            code = status >> 1
            report("shutdown", f"the guest wrote {code:#x} to the debug exit port")
            return 0 if code == 0 else 1
        if status == 0:
            return 0
        report("QEMU ended", f"status {status}")
        return 2


def run_qemu(setup, options):
    """An interactive QEMU on this terminal."""
    say("Ctrl-A x leaves QEMU, Ctrl-A c switches between the console and QEMU's monitor")
    guest = Qemu(setup, ["-serial", "mon:stdio"], options.explain)
    return guest.watch()


# ---- GDB --------------------------------------------------------------------------------------------


def wanted_symbols(setup):
    """The kernel's ELF file, and of the guests those that the command line names.

    All guests are linked at one address: with the symbols of several GDB would name any of them.
    """
    named = re.findall(r"[\w.-]+", setup.cmdline or "")
    guests = [path for path in setup.elf[1:] if len(setup.elf) == 2 or Path(path).stem in named]
    if len(setup.elf) > 2 and not guests:
        say("of a guest GDB knows no symbols yet; for hello: add-symbol-file build/guest/hello.elf")
    return [*setup.elf[:1], *guests]


def gdb_init(setup, socket_path, directory):
    """A start file for GDB: symbols of the kernel, then of the guests, then the connection."""
    lines = []
    for number, path in enumerate(wanted_symbols(setup)):
        words = "file" if number == 0 else "add-symbol-file"
        lines.append(f"{words} {shlex.quote(str(Path(path).resolve()))}")
    path = directory / "gdbinit"
    path.write_text(GDB_INIT.format(symbols="\n".join(lines), socket=socket_path),
                    encoding="utf-8")
    return path


def run_gdb(setup, options):
    """QEMU stopped at its first instruction, GDB in this terminal."""
    with tempfile.TemporaryDirectory(prefix="zeno-gdb-") as name:
        directory = Path(name)
        console = Path(options.console or directory / "console")
        socket_path = directory / "gdb.sock"
        if options.reverse:
            say("recording until the machine ends, or Ctrl-C")
            if not reverse.record(setup, directory, directory / "recorded"):
                die("QEMU recorded nothing")
            sys.stdout.write((directory / "recorded").read_bytes().decode("utf-8", "backslashreplace"))
            setup.extra += reverse.options("replay", directory)
            say("now the same again under GDB: reverse-stepi, reverse-continue, reverse-finish")
        guest = Qemu(setup, ["-serial", f"file:{console}", "-S", "-gdb",
                             f"unix:{socket_path},server=on,wait=off"], options.explain, linger=True)
        watcher = threading.Thread(target=lambda: setattr(guest, "verdict", guest.watch()),
                                   daemon=True)
        watcher.start()
        if not wait_for(socket_path.exists, guest):
            die("QEMU did not open its GDB stub")
        say(f"the guest's console: tail -f {console}")
        done = talk(gdb_init(setup, socket_path, directory), options)
        if guest.process.poll() is None:
            guest.process.terminate()
        watcher.join(20)
        if options.batch and console.exists() and not options.console and not options.reverse:
            sys.stdout.write(console.read_bytes().decode("utf-8", "backslashreplace"))
    return guest.verdict if guest.verdict else (2 if done.returncode else 0)


# ---- GDB on the guests, by the kernel's own stub -----------------------------------------------------

GUESTS_INIT = """\
set pagination off
set confirm off
set schedule-multiple on
source {commands}
zeno-symbols {symbols}
target extended-remote {socket}
guests
{more}
"""
HELD = b"waits for the debugger before its first instruction"
STARTING = re.compile(r"(^|[\s;])start\s+\w")


class Bridge(threading.Thread):
    """Passes bytes between an emulator's COM2 and GDB at a unix socket of ours.

    When the machine is gone GDB may still read what it said last, and nobody minds what GDB says.
    """

    def __init__(self, path, accept):
        super().__init__(daemon=True)
        self.accept = accept
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen(1)

    def run(self):
        emulator = self.accept()
        debugger, _ = self.server.accept()
        with emulator, debugger:
            self.relay(emulator, debugger)

    @staticmethod
    def relay(emulator, debugger):
        """Until GDB leaves."""
        alive = [emulator]
        while True:
            ready = select.select([*alive, debugger], [], [])[0]
            if emulator in ready:
                data = receive(emulator)
                if data:
                    debugger.sendall(data)
                else:
                    alive.clear()
                    debugger.shutdown(socket.SHUT_WR)
            if debugger in ready:
                data = receive(debugger)
                if not data:
                    return
                try:
                    emulator.sendall(data)
                except OSError:
                    pass


def receive(end):
    """What has come; nothing where the other side is gone."""
    try:
        return end.recv(65536)
    except OSError:
        return b""


def bochs_for_gdb(setup, options, directory, console, socket_path):
    """Bochs with COM1 in a file and COM2 on its way to GDB: (process, a function that says how it ended)."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1)

    def accept():
        with listener:  # nobody else may come
            return listener.accept()[0]

    Bridge(socket_path, accept).start()
    port = listener.getsockname()[1]
    setup.extra += (f'com2: enabled=1, mode=socket-client, dev="127.0.0.1:{port}"',)
    faults = Faults(bochs_log=True)
    rc = bochs.bochsrc(setup, directory, faults.path(), console, options.explain)
    commands = directory / "commands"
    commands.write_text("c\nq\n", encoding="ascii")
    with open(directory / "out", "wb") as out:
        process = subprocess.Popen(
            [bochs.PROGRAM, "-q", "-f", str(rc), "-rc", str(commands)], stdout=out, stderr=out,
            stdin=subprocess.DEVNULL, cwd=directory, pass_fds=[faults.write_fd],
            preexec_fn=die_with_parent, start_new_session=True)
    faults.on_note = lambda notes: over(notes) and process.kill()
    faults.begin()

    def end():
        """To be called once GDB has left: the verdict."""
        left = process.poll() is None
        if left:
            process.kill()
        process.wait()
        faults.join(10)
        return 0 if left else bochs_verdict(faults, Symbols(setup.elf), process.returncode, directory)

    return process, end


def qemu_for_gdb(setup, options, console, socket_path):
    """The same on QEMU."""
    ours, theirs = socket.socketpair()
    Bridge(socket_path, lambda: ours).start()
    guest = Qemu(setup, ["-serial", f"file:{console}", "-chardev", f"socket,id=com2,fd={theirs.fileno()}",
                         "-serial", "chardev:com2"], options.explain, linger=True,
                 pass_fds=[theirs.fileno()])
    theirs.close()
    watcher = threading.Thread(target=lambda: setattr(guest, "verdict", guest.watch()), daemon=True)
    watcher.start()

    def end():
        """To be called once GDB has left: the verdict."""
        if guest.process.poll() is None:
            guest.process.terminate()
        watcher.join(20)
        return guest.verdict or 0

    return guest.process, end


def wait_for_guest(process, console):
    """Until the first guest is held. Ends us where none comes: the host has stopped or sits at K>."""
    while process.poll() is None:
        text = console.read_bytes() if console.exists() else b""
        if HELD in text:
            return
        if text.endswith(b"K> ") or b"\npanic:" in text:
            break
        select.select([], [], [], 0.05)
    print(text.decode("utf-8", "backslashreplace"), file=sys.stderr)
    die("no guest was started, so there is nothing to debug")


def run_gdb_guests(setup, options):
    """GDB in this terminal on the first guest, before its first instruction."""
    with tempfile.TemporaryDirectory(prefix="zeno-gdb-") as name:
        directory = Path(name)
        console = Path(options.console or directory / "console").resolve()
        console.write_bytes(b"")
        socket_path = directory / "gdb.sock"
        if setup.machine == "bochs":
            process, end = bochs_for_gdb(setup, options, directory, console, socket_path)
        else:
            process, end = qemu_for_gdb(setup, options, console, socket_path)
        try:
            wait_for_guest(process, console)
            say(f"the guest's console, in another terminal: tail -f {console}")
            say("inferior N is domain N; the host itself: make gdb without STUB=zeno; help zeno")
            init = directory / "gdbinit"
            init.write_text(GUESTS_INIT.format(
                commands=shlex.quote(str(ROOT / "tools" / "gdb" / "zeno.py")), socket=socket_path,
                more="vmexit" if options.first_exit else "", symbols=" ".join(shlex.quote(str(Path(path).resolve())) for path in setup.elf[1:])),
                encoding="utf-8")
            done = talk(init, options)
        finally:
            verdict = end()
        if options.batch and not options.console:
            sys.stdout.write(console.read_bytes().decode("utf-8", "backslashreplace"))
    return verdict if verdict else (2 if done.returncode else 0)


def talk(init, options):
    """Run GDB with a start file until it ends."""
    argv = ["gdb", "-q", "-nx", "-x", str(init)]
    if options.batch:
        argv += ["-batch", "-x", options.batch]
    sys.stdout.flush()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    done = subprocess.run(argv, check=False, preexec_fn=default_sigint)
    signal.signal(signal.SIGINT, before)
    return done


def default_sigint():
    """GDB itself must get Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition, guest):
    """Poll until it holds or QEMU is gone."""
    while guest.process.poll() is None:
        if condition():
            return True
        select.select([], [], [], 0.02)
    return False


# ---- Bochs ------------------------------------------------------------------------------------------


def run_bochs(setup, options):
    """Bochs with COM1 on this terminal, through a terminal of our own."""
    with tempfile.TemporaryDirectory(prefix="zeno-bochs-") as name:
        directory = Path(name)
        faults = Faults(bochs_log=True)
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        rc = bochs.bochsrc(setup, directory, faults.path(), os.ttyname(theirs), options.explain)
        text = rc.read_text(encoding="utf-8").replace("mode=file", "mode=term")
        rc.write_text(text, encoding="utf-8")
        commands = directory / "commands"
        commands.write_text("c\nq\n", encoding="ascii")
        say("Ctrl-A x leaves Bochs")
        with open(directory / "out", "wb") as out:
            process = subprocess.Popen(
                [bochs.PROGRAM, "-q", "-f", str(rc), "-rc", str(commands)], stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, cwd=directory, pass_fds=[faults.write_fd],
                preexec_fn=lambda: (bochs.hide_network(), die_with_parent()),
                start_new_session=True)
        faults.on_note = lambda notes: over(notes) and process.kill()
        faults.begin()
        left = relay(ours, process)
        process.kill()
        process.wait()
        faults.join(10)
        os.close(theirs)
        os.close(ours)
        if left:
            return 0
        return bochs_verdict(faults, Symbols(setup.elf), process.returncode, directory)


def run_bochs_debugger(setup, options):
    """Bochs with its own debugger on this terminal, and the console in a file."""
    with tempfile.TemporaryDirectory(prefix="zeno-bochs-") as name:
        directory = Path(name)
        console = Path(options.console or directory / "console").resolve()
        console.touch()
        rc = bochs.bochsrc(setup, directory, directory / "log", str(console), False)
        say(f"the guest's console: tail -f {console}")
        say("c goes on, Ctrl-C stops the machine, help lists the debugger's commands, q leaves")
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        process = subprocess.Popen([bochs.PROGRAM, "-q", "-f", str(rc)], cwd=directory,
                                   preexec_fn=lambda: (default_sigint(), bochs.hide_network(),
                                                       die_with_parent()))
        status = process.wait()
        signal.signal(signal.SIGINT, before)
    return 0 if status in (0, 1) else 2


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


def relay(master, process):
    """Pass bytes between this terminal and the guest's; True if the person left."""
    stdin = sys.stdin.fileno()
    saved = termios.tcgetattr(stdin) if os.isatty(stdin) else None
    sources = [master, stdin]
    escaped = False
    try:
        if saved:
            tty.setraw(stdin)
        while True:
            ready, _, _ = select.select(sources, [], [], 0.1)
            if master in ready:
                os.write(sys.stdout.fileno(), os.read(master, 65536))
            elif process.poll() is not None:
                return False
            if stdin in ready:
                data = os.read(stdin, 1024)
                if not data:
                    sources.remove(stdin)
                if escaped and data[:1] in b"xX":
                    return True
                escaped = data[-1:] == bytes([LEAVE])
                os.write(master, data.replace(bytes([LEAVE]), b""))
    except OSError:
        return False
    finally:
        if saved:
            termios.tcsetattr(stdin, termios.TCSADRAIN, saved)


# ---- the command line -------------------------------------------------------------------------------


def make_image(options, directory):
    """A disk image with this kernel, made on the way for Bochs."""
    image = Path(directory) / "disk.img"
    argv = [sys.executable, str(ROOT / "tools" / "mkimage.py"), "-o", str(image),
            "--kernel", options.kernel,
            "--cmdline", f"{Path(options.kernel).name} {options.append}".rstrip()]
    for module in options.module:
        argv += ["--module", module.split()[0], module]
    done = subprocess.run(argv, check=False)
    if done.returncode:
        die("tools/mkimage.py failed")
    return image


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", choices=machine.machine_names(), default="qemu")
    parser.add_argument("--kernel", help="multiboot image (zeno.mb)")
    parser.add_argument("--disk", help="raw disk image, in place of --kernel")
    parser.add_argument("--elf", action="append", default=[], help="symbols: the host kernel first")
    parser.add_argument("--module", action="append", default=[], metavar="'PATH WORDS'")
    parser.add_argument("--append", default="", help="the kernel's command line")
    parser.add_argument("--cpu", default="te", help="a CPU of grade/machines.toml")
    parser.add_argument("--mem", type=int, default=128, help="MiB")
    parser.add_argument("--gdb", action="store_true", help="start stopped, with GDB attached")
    parser.add_argument("--stub", choices=["qemu", "zeno"], default="qemu",
                        help="with --gdb: QEMU's stub (the host), or the kernel's own (guests)")
    parser.add_argument("--first-exit", action="store_true",
                        help="with --stub zeno: run to the first guest's first exit")
    parser.add_argument("--batch", metavar="SCRIPT", help="with --gdb: run this GDB script and end")
    parser.add_argument("--reverse", action="store_true",
                        help="with --gdb: record a run first, then go forwards and backwards in it")
    parser.add_argument("--debugger", action="store_true",
                        help="Bochs, stopped, with its own debugger in this terminal")
    parser.add_argument("--console", metavar="FILE",
                        help="with --gdb or --debugger: the guest's console")
    parser.add_argument("--no-explain", dest="explain", action="store_false",
                        help="no log of faults: faster where a guest faults a lot")
    options = parser.parse_args()
    if (options.kernel is None) == (options.disk is None):
        parser.error("give --kernel or --disk")
    if options.disk and (options.module or options.append):
        parser.error("a disk image holds its own modules and command line")
    if options.stub == "zeno":
        for_guests(parser, options)
    elif options.gdb and options.machine == "bochs":
        parser.error("Debian's Bochs has no GDB stub: --stub zeno shows the guests, and --debugger all")
    if options.reverse and (not options.gdb or options.stub == "zeno" or options.disk):
        parser.error("--reverse goes with --gdb, --kernel and QEMU's own stub: a recording has no other input")
    for path in [options.kernel, options.disk, *options.elf, *(m.split()[0] for m in options.module)]:
        if path and not Path(path).is_file():
            parser.error(f"there is no file {path}")
    return options


def for_guests(parser, options):
    """The kernel's stub is asked for on its command line, and needs a guest."""
    if not options.gdb:
        parser.error("--stub zeno goes with --gdb")
    if options.disk:
        parser.error("--stub zeno needs --kernel: the command line in an image can't be added to")
    if not STARTING.search(options.append):
        say("no guest is started on the command line: taking `start hello`")
        words, dashes, commands = options.append.partition("-- ")
        options.append = f"{words.rstrip()} -- {f'{commands}; ' if dashes else ''}start hello".strip()
    options.append = f"gdb=wait {options.append}"


def main():
    """Run it."""
    options = parse()
    name = "bochs" if options.debugger else options.machine
    absent = machine.missing(name)
    if absent:
        die(absent)
    if options.gdb and not shutil.which("gdb"):
        die("gdb is not here; install the package gdb")
    with tempfile.TemporaryDirectory(prefix="zeno-run-") as directory:
        boots = {"kernel": options.kernel, "cmdline": options.append,
                 "modules": [(m.split()[0], m.split()[1:]) for m in options.module]}
        if options.disk or name == "bochs":
            boots = {"disk": options.disk or make_image(options, directory)}
        setup = machine.Setup(machine=name, cpu=options.cpu, mem=options.mem, elf=options.elf,
                              **boots)
        try:
            if options.gdb:
                return (run_gdb_guests if options.stub == "zeno" else run_gdb)(setup, options)
            if options.debugger:
                return run_bochs_debugger(setup, options)
            return run_bochs(setup, options) if name == "bochs" else run_qemu(setup, options)
        except machine.MachineMissing as absent:
            die(str(absent))
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
