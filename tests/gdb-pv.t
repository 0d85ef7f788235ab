#!/usr/bin/env python3
"""A real GDB on guests of pv: breakpoints and steps are not to be seen."""

import shutil
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
import gdb_session  # noqa: E402
from gdb_session import at_once, contains, lines  # noqa: E402
from zeno.machines import machine  # noqa: E402

session = partial(gdb_session.session, lab="6", cpu="pv")


def stops(where):
    """A breakpoint stops a PV kernel, and steps lead on, over its hypercalls, too."""
    text, console = session(where, "start pv-hello", """
break guest_main
continue
stepi 24
break handler
continue
info registers rip
delete
detach
python host_ends()
""")
    contains(text, "Breakpoint 1, ", "guest_main", "Breakpoint 2, ", "handler", "rip ", what=f"{where}: GDB stops a PV kernel", console=console)
    ok(lines(console, 1)[1:] == ["xen-3.0-x86_64, Xen's ABI 4.17-zeno, 2048 pages, 5 page tables",
                                 "my own handler: vector 6 at cs e030", "caught 1; the end"],
       f"{where}: which prints what it prints without", text=text, console=console)


def own(where):
    """Its own int3, steps and breakpoints stay its own while there are GDB's."""
    text, console = session(where, "start pv-machine", """
break guest_main
continue
break pv_exit
continue
delete
detach
python host_ends()
""")
    contains(text, "Breakpoint 2, ", "pv_exit", what=f"{where}: GDB has it up to its end", console=console)
    ok(lines(console, 1) == ["0 wrong; the end"], f"{where}: and the guest finds its machine as ever", text=text, console=console)


def main():
    tests = []
    for where, test in (("qemu", stops), ("bochs", stops), ("qemu", own)):
        reason = machine.missing(where) or (None if shutil.which("gdb") else "gdb is not here; install the package gdb")
        if reason:
            skip(f"{test.__name__} on {where}", reason)
        else:
            tests.append((where, partial(test, where)))
    at_once(tests)
    finish()


if __name__ == "__main__":
    main()
