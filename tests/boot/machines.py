"""Runs one image on QEMU or Bochs until it ends or halts for ever; for tests/boot.t.

Nothing here knows what the output means. Every wait has an end; only processes that were started
here are ended; each run has a folder of its own.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PATIENCE = 60  # seconds; then a machine is called hung. Far more than any run takes

BOCHSRC = """\
display_library: rfb, options="timeout=0"
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
megs: 64
cpu: model=corei7_haswell_4770, ips=50000000, reset_on_triple_fault=0
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
ata0-master: type=disk, path="{disk}", mode=flat, {geometry}
boot: disk
com1: enabled=1, mode=file, dev="{folder}/com1"
log: "{folder}/log"
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
"""


class Result:
    """What a run left: `serial` text; `end`: "off", "halt" (CLI; HLT), "reset" or "hung"."""

    def __init__(self, serial, end):
        self.serial = serial
        self.end = end


def wait_for(process, done):
    """Polls `done` until it is true, the process has ended, or patience has. Says which."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        if process.poll() is not None:
            return "ended"
        if done():
            return "done"
        time.sleep(0.02)
    return "hung"


def stop(process):
    """Ends a process of ours, if it has not ended."""
    if process.poll() is None:
        process.kill()
    process.wait()


class Monitor:
    """QEMU's QMP socket, as far as `info registers` and the events go."""

    def __init__(self, path):
        self.path = path
        self.lines = None

    def connect(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(str(self.path))
            self.lines = s.makefile("rw", encoding="utf-8")  # keeps the connection open
        self.lines.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.lines.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.lines.flush()
        while True:
            line = self.lines.readline()
            if not line:
                raise OSError("QEMU closed its monitor")
            answer = json.loads(line)
            if "return" in answer or "error" in answer:
                return answer.get("return")

    def dead_halt(self):
        """True if the CPU is in HLT with interrupts off. False also while QEMU starts or ends."""
        try:
            if self.lines is None:
                self.connect()
            registers = self.command("human-monitor-command", **{"command-line": "info registers"})
        except (OSError, ValueError):
            return False
        words = dict(w.split("=", 1) for w in registers.split() if "=" in w)
        return words.get("HLT") == "1" and not int(words["EFL"], 16) & 0x200

    def close(self):
        if self.lines is not None:
            with contextlib.suppress(OSError):
                self.lines.close()


def qemu(folder, *arguments, mem=64, cpu="qemu64,-hypervisor"):
    """Runs QEMU with these arguments (a disk, or -kernel ...)."""
    folder = Path(folder)
    folder.mkdir()
    monitor = Monitor(folder / "qmp")
    log = folder / "resets"
    process = subprocess.Popen(
        [
            "qemu-system-x86_64", "-machine", "pc", "-cpu", cpu, "-m", str(mem),
            "-display", "none", "-nodefaults", "-vga", "std", "-no-reboot",
            "-serial", f"file:{folder}/com1", "-d", "cpu_reset", "-D", str(log),
            "-chardev", f"socket,id=qmp,path={folder}/qmp,server=on,wait=off",
            "-mon", "chardev=qmp,mode=control",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4", *arguments,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        how = wait_for(process, monitor.dead_halt)
    finally:
        stop(process)
        monitor.close()
    errors = process.stderr.read().decode(errors="replace")
    process.stderr.close()
    serial = folder / "com1"
    text = serial.read_bytes().decode(errors="replace") if serial.exists() else ""
    if how == "ended":
        how = "off" if process.returncode == 1 and not errors else "reset"
    return Result(text + errors, {"done": "halt"}.get(how, how))


def disk(path, fmt="raw"):
    """QEMU's arguments for a disk."""
    return ["-drive", f"file={path},format={fmt},if=ide"]


def bochs(folder, image, geometry):
    """Runs Bochs with a disk image."""
    folder = Path(folder)
    folder.mkdir()
    copy = folder / "disk.img"  # Bochs locks the image it uses
    shutil.copyfile(image, copy)
    rc, commands, log = folder / "bochsrc", folder / "commands", folder / "log"
    rc.write_text(BOCHSRC.format(disk=copy, folder=folder, geometry=geometry), encoding="utf-8")
    commands.write_text("c\n", encoding="utf-8")
    with open(folder / "out", "wb") as out:
        process = subprocess.Popen(
            ["bochs", "-q", "-f", str(rc), "-rc", str(commands)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder,
            env={**os.environ, "HOME": str(folder)},
        )

        def said(words):
            return log.exists() and words in log.read_bytes()

        try:
            how = wait_for(process, lambda: said(b"HLT instruction with IF=0"))
        finally:
            stop(process)
    serial = folder / "com1"
    text = serial.read_bytes().decode(errors="replace") if serial.exists() else ""
    if how == "ended":
        off = b"Shutdown port: shutdown requested"
        how = "off" if off in (folder / "out").read_bytes() or said(off) else "reset"
    if not text and how == "reset":
        text = (folder / "out").read_text(errors="replace")[-400:]
    return Result(text, {"done": "halt"}.get(how, how))
