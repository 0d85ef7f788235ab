"""A real GDB in a script, on guests by the kernel's own stub: tests/gdb.t, gdb-bt.t, gdb-svm.t, gdb-pv.t.

What a session did to a guest is judged by the guest's own output, which the host's console shows, and never by how
long anything took.
"""

import re
import sys
from concurrent.futures import ThreadPoolExecutor

from harness import ROOT, folder, ok, run

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

LIMIT = machine.Limits(instructions=8_000_000_000, cpu_seconds=60)
HANG = "600"  # seconds of the wall's clock: only for a session that waits for ever, and far from what any takes
BUILT = {}
"""Guests of a test's own, by name."""


def guest(name):
    """The image of a guest."""
    return str(BUILT.get(name, ROOT / f"build/guest/{name}.elf"))


PRELUDE = """python
import time
def attempt(command):
    try:
        gdb.execute(command)
    except gdb.error as error:
        print(error)
def host_ends():
    while "echo that was all" not in open("{console}", errors="replace").read():
        time.sleep(0.05)
end
"""


def session(where, commands, script, lab=1, cpu="te", options=""):
    """A GDB session by way of tools/run.py: (what GDB said, the guests' lines on the console)."""
    host = ROOT / f"build/lab{lab}-solution"
    place = folder()
    (place / "script.gdb").write_text(PRELUDE.format(console=place / "console") + script)
    names = dict.fromkeys(re.findall(r"\bstart ([\w-]+)", commands))
    files = [word for name in names for word in ("--elf", guest(name), "--module", guest(name))]
    done = run("timeout", HANG, sys.executable, ROOT / "tools/run.py", "--machine", where, "--cpu", cpu, "--gdb", "--no-explain",
               "--stub", "zeno", "--batch", place / "script.gdb", "--console", place / "console",
               "--kernel", host / "zeno.mb", "--elf", host / "zeno.elf", *files,
               "--append", f"panic=off {options} -- {commands}; echo that was all; off", cwd=ROOT)
    if not (place / "console").is_file():
        raise RuntimeError(f"no machine for GDB: {done.out}")
    return done.out, (place / "console").read_text(errors="replace").replace("\r", "")


def lines(console, domain):
    """What one guest printed."""
    return [line[4:] for line in console.split("\n") if line.startswith(f"d{domain}| ")]


def bare(name):
    """What the same image prints on the bare machine."""
    result = machine.boot(machine="qemu", kernel=guest(name), cpu="te", limits=LIMIT)
    text = result.console.decode("ascii", "replace").replace("\r", "")
    result.cleanup()
    assert result.end is machine.End.SHUTDOWN, result.detail
    return text.splitlines()


def at_once(tests):
    """Make tests, [(machine, function)]: those on Bochs, whose line waits for GDB and GDB for it, beside the others."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        beside = [pool.submit(test) for where, test in tests if where == "bochs"]
        for where, test in tests:
            if where != "bochs":
                test()
        for one in beside:
            one.result()


def contains(text, *words, what, **more):
    """All of the words, in this order."""
    at = 0
    for word in words:
        found = text.find(word, at)
        if found < 0:
            return ok(False, what, missing=word, within=text, **more)
        at = found + len(word)
    return ok(True, what)
