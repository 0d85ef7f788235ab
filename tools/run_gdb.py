"""`make gdb`: GDB on the host by QEMU's stub, or on the guests by the kernel's own."""

import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import reverse
import trouble
from run_qemu import Qemu
from terminal import ROOT, Faults, bochs_verdict, die, over, say
from zeno.machines import bochs
from zeno.machines.process import die_with_parent
from zeno.machines.symbols import Symbols

GDB_INIT = """\
set pagination off
set confirm off
set architecture i386:x86-64
{symbols}
target remote {socket}
"""


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
    with trouble.short_folder("zeno-gdb-") as name:
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
        guest = Qemu(setup, ["-serial", f"file:{console}", "-gdb",
                             f"unix:{socket_path},server=on,wait=off"], options.explain, linger=True, held=True)
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
    """What has come; nothing where the other side is gone.

    Bochs sends a byte at a time, and each waits for the one before to be acknowledged: the kernel would do that 40 ms later.
    """
    try:
        data = end.recv(65536)
        if end.family == socket.AF_INET:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data
    except OSError:
        return b""


def bochs_for_gdb(setup, options, directory, console, socket_path):
    """Bochs with COM1 in a file and COM2 on its way to GDB: (process, a function that says how it ended)."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1)

    def accept():
        with listener:  # nobody else may come
            emulator = listener.accept()[0]
        emulator.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return emulator

    Bridge(socket_path, accept).start()
    port = listener.getsockname()[1]
    setup.extra += (f'com2: enabled=1, mode=socket-client, dev="127.0.0.1:{port}"',)
    faults = Faults(bochs_log=True, cpu=setup.cpu)
    # In most of a session the kernel's stub waits for somebody who types, and asks its UART all the time: Bochs sleeps there.
    # It looks for GDB's next byte each 100 ms of its own clock, so a script, which thinks for a millisecond, has it run on.
    rc = bochs.bochsrc(setup, directory, faults.path(), console, options.explain, sync="none" if options.batch else "slowdown")
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
    # GDB writes a line in pieces, so where a script runs nothing else is said before it has left.
    left = threading.Event() if options.batch else None
    guest = Qemu(setup, ["-serial", f"file:{console}", "-chardev", f"socket,id=com2,fd={theirs.fileno()}",
                         "-serial", "chardev:com2"], options.explain, linger=True,
                 pass_fds=[theirs.fileno()], behind=left)
    theirs.close()
    watcher = threading.Thread(target=lambda: setattr(guest, "verdict", guest.watch()), daemon=True)
    watcher.start()

    def end():
        """To be called once GDB has left: the verdict."""
        if guest.process.poll() is None:
            guest.process.terminate()
        if left:
            left.set()
        watcher.join(20)
        return guest.verdict or 0

    return guest.process, end


def sits_at_prompt(text, words):
    """Whether all commands of these words of the kernel's are done: each stands behind a prompt, and another one follows."""
    commands = [command for command in words.partition("-- ")[2].split(";") if command.strip()]
    return text.endswith(b"K> ") and len(re.findall(rb"^K> ", text, re.M)) > len(commands)


def wait_for_guest(process, console, words):
    """Until the first guest is held. Ends us where none comes: the host has stopped or sits at K>."""
    while process.poll() is None:
        text = console.read_bytes() if console.exists() else b""
        if HELD in text:
            return
        if sits_at_prompt(text, words) or b"\npanic:" in text:
            break
        select.select([], [], [], 0.05)
    print(text.decode("utf-8", "backslashreplace"), file=sys.stderr)
    die("no guest was started, so there is nothing to debug")


def run_gdb_guests(setup, options):
    """GDB in this terminal on the first guest, before its first instruction."""
    with trouble.short_folder("zeno-gdb-") as name:
        directory = Path(name)
        console = Path(options.console or directory / "console").resolve()
        console.write_bytes(b"")
        socket_path = directory / "gdb.sock"
        if setup.machine == "bochs":
            process, end = bochs_for_gdb(setup, options, directory, console, socket_path)
        else:
            process, end = qemu_for_gdb(setup, options, console, socket_path)
        try:
            wait_for_guest(process, console, options.append)
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
