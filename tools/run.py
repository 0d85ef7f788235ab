#!/usr/bin/env python3
"""Runs a kernel on an emulator for a person: `make qemu`, `make bochs`, `make gdb` are this.

    run.py --kernel build/lab1/zeno.mb --elf build/lab1/zeno.elf \\
           --module "build/guest/hello.elf" --append "-- start hello"
    run.py --disk image.img                    the same machine from a disk image
    run.py --machine bochs --kernel ...        on Bochs (an image is made on the way)
    run.py --machine kvm --kernel ...          on QEMU with KVM, where that has VT-x for its guests
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
import shutil
import signal
import subprocess
import sys
import tempfile
import tty
from pathlib import Path

import trouble
from terminal import ROOT, Faults, bochs_verdict, die, over, relay, say
from run_gdb import default_sigint, run_gdb, run_gdb_guests
from run_qemu import run_qemu
from zeno.machines import bochs, machine
from zeno.machines.process import die_with_parent
from zeno.machines.symbols import Symbols

GDB_ELSEWHERE = ("; under GDB its guests are there by make gdb LAB=n STUB=zeno MACHINE=bochs, and all of the machine in Bochs' own "
                 "debugger by make bochs LAB=n DEBUG=1")
STARTING = re.compile(r"(^|[\s;])start\s+\w")


def run_bochs(setup, options):
    """Bochs with COM1 on this terminal, through a terminal of our own."""
    with tempfile.TemporaryDirectory(prefix="zeno-bochs-") as name:
        directory = Path(name)
        faults = Faults(bochs_log=True, cpu=setup.cpu)
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
    parser.add_argument("--machine", choices=[*machine.machine_names(), *machine.BY_HAND], default="qemu")
    parser.add_argument("--kernel", help="multiboot image (zeno.mb)")
    parser.add_argument("--disk", help="raw disk image, in place of --kernel")
    parser.add_argument("--drive", metavar="FILE", help="an image that the machine has as a drive: hda, on Bochs, which boots from that, hdb")
    parser.add_argument("--net", metavar="WHERE", help="a network card, e1000. 1: on the emulator's user network; on QEMU listen:PORT, connect:PORT: a cable "
                        "between two machines here, of which the one that listens is started first")
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
    if (options.drive or options.net) and options.disk:
        parser.error("--drive and --net go with --kernel")
    if options.net not in (None, "1") and (options.debugger or options.machine == "bochs"):
        parser.error(f"NET={options.net}: Bochs has no such cable, but NET=1")
    if options.net and not re.fullmatch("1|(listen|connect):[1-9][0-9]{0,4}", options.net):
        parser.error(f"NET={options.net}: it is 1, listen:PORT or connect:PORT")
    if options.stub == "zeno":
        for_guests(parser, options)
    elif options.gdb and options.machine == "bochs":
        parser.error("Debian's Bochs has no GDB stub: --stub zeno shows the guests, and --debugger all")
    if options.reverse and (not options.gdb or options.stub == "zeno" or options.disk or options.machine != "qemu"):
        parser.error("--reverse goes with --gdb, --kernel and QEMU's own stub: a recording has no other input")
    for path in [options.kernel, options.disk, options.drive, *options.elf, *(m.split()[0] for m in options.module)]:
        if path and not Path(path).is_file():
            parser.error(f"there is no file {path}")
    if options.drive and (options.debugger or options.machine == "bochs") and not bochs.geometry(Path(options.drive).stat().st_size):
        parser.error(f"{options.drive}: Bochs has drives of whole sectors of 512 bytes")
    return options


def card(where):
    """QEMU's words for a network card, with an address of its own at each end of a cable."""
    end, _, port = where.partition(":")
    if where == "1":
        return "-netdev", "user,id=net", "-device", "e1000,netdev=net"
    last = {"listen": 56, "connect": 57}[end]
    return "-netdev", f"socket,id=net,{end}=127.0.0.1:{port}", "-device", f"e1000,netdev=net,mac=52:54:00:12:34:{last}"


def on_qemu(options):
    """QEMU's words for what the machine has besides."""
    words = card(options.net) if options.net else ()
    if options.drive:
        path = str(Path(options.drive).resolve()).replace(",", ",,")
        words += ("-drive", f"file={path},format=raw,if=ide,index=0")
    return words


def on_bochs(options):
    """Lines of a bochsrc for the same. Its hda is what it boots from, so the drive is hdb there."""
    lines = ()
    if options.net:
        lines += ("e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=slirp",)
    if options.drive:
        path = Path(options.drive).resolve()
        cylinders, heads, track = bochs.geometry(path.stat().st_size)
        lines += (f'ata0-slave: type=disk, mode=flat, path="{path}", cylinders={cylinders}, heads={heads}, spt={track}',)
    return lines


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
        boots["extra"] = (on_bochs if name == "bochs" else on_qemu)(options)
        setup = machine.Setup(machine=name, cpu=options.cpu, mem=options.mem, elf=options.elf,
                              **boots)
        try:
            if options.gdb:
                return (run_gdb_guests if options.stub == "zeno" else run_gdb)(setup, options)
            if options.debugger:
                return run_bochs_debugger(setup, options)
            return run_bochs(setup, options) if name == "bochs" else run_qemu(setup, options)
        except machine.MachineMissing as absent:
            die(f"{absent}{GDB_ELSEWHERE if options.gdb else ''}")
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(trouble.guarded(main, status=2))
