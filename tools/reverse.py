"""`make gdb REVERSE=1`: QEMU records a run, then plays it back under GDB, which can go backwards in it.

To go backwards QEMU loads a snapshot from before and runs forward. It keeps snapshots in a disk image of
the format qcow2 only; without one GDB hears "E14". So the machine gets an empty image that no device shows
to it. Nothing else may be typed or read from outside: what happens comes from the command line.
"""

import signal
import struct
import subprocess

from zeno.machines import qemu
from zeno.machines.process import die_with_parent

CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS
SIZE = 1 << 20
ICOUNT = "shift=3"  # with sleep=off an idle machine would fill the recording with ticks


def snapshots(path):
    """An empty qcow2 image, version 2 (QEMU's docs/interop/qcow2.txt): each table has a cluster of its own."""
    table, counts, level1, end = (n * CLUSTER for n in range(1, 5))
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, CLUSTER_BITS, SIZE, 0, 1, level1,
                         table, 1, 0, 0)
    with open(path, "wb") as file:
        file.write(header)
        file.seek(table)
        file.write(struct.pack(">Q", counts))
        file.seek(counts)
        file.write(struct.pack(">4H", 1, 1, 1, 1))
        file.truncate(end)


def options(mode, directory):
    """QEMU's words for `record` or `replay`."""
    return ("-icount", f"{ICOUNT},rr={mode},rrfile={directory}/run,rrsnapshot=start",
            "-drive", f"file={directory}/snapshots,if=none,id=snapshots,format=qcow2")


def record(setup, directory, console):
    """Run the machine to its end, or until Ctrl-C, its console in a file; true if there is a recording."""
    snapshots(directory / "snapshots")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            [*qemu.boot_argv(setup), *options("record", directory), "-serial", f"file:{console}"],
            stdin=subprocess.DEVNULL, preexec_fn=recording)
        process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    path = directory / "run"
    return path.exists() and path.stat().st_size > 0


def recording():
    """QEMU ends in order at Ctrl-C: the rest of its recording is written then."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    die_with_parent()
