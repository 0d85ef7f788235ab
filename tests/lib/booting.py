"""A boot from its beginning to its end, and what is left of it: what most tests do with a machine."""

import sys
from dataclasses import dataclass
from pathlib import Path

from harness import ROOT, disk_image

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402


@dataclass
class Ran:
    """What a machine said, and how it ended."""

    text: str
    """The console, with line ends of one byte."""
    end: machine.End
    detail: str
    code: int
    """The exit code; None on Bochs, which has none."""
    counts: object
    log: str
    """Of Bochs."""


def named(guest):
    """(file, its name, words) of a guest: a path, a path with words, or all three."""
    guest = guest if isinstance(guest, tuple) else (guest, "")
    return guest if len(guest) == 3 else (guest[0], Path(guest[0]).stem, guest[1])


def disk_of(kernel, cmdline, guests):
    """A disk for Bochs."""
    return disk_image(kernel, cmdline, [(path, f"{name} {words}".strip()) for path, name, words in map(named, guests)])


def boot_from(where, kernel, cmdline="", guests=()):
    """What machine.boot() boots a machine from: QEMU by itself, Bochs from a disk."""
    if where == "qemu":
        return {"machine": "qemu", "kernel": str(kernel), "cmdline": cmdline,
                "modules": [(str(path), words) for path, _, words in map(named, guests)]}
    return {"machine": "bochs", "disk": str(disk_of(kernel, cmdline, guests))}


def ran(where, kernel, cmdline="", guests=(), **setup):
    """Boot a kernel, with guests as its modules, and wait for its end. A Ran."""
    result = machine.boot(**boot_from(where, kernel, cmdline, guests), **setup)
    log = (result.directory / "log").read_text(errors="replace") if where == "bochs" else ""
    found = Ran(result.console.decode("ascii", "replace").replace("\r", ""), result.end, result.detail, result.code, result.counts, log)
    result.cleanup()
    return found
