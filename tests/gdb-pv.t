#!/usr/bin/env python3
"""A real GDB on guests of pv: breakpoints and steps are not to be seen, and none ever stands in a page table."""

import shutil
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
import gdb_session  # noqa: E402
from gdb_session import at_once, contains, guest, lines  # noqa: E402
from zeno.machines import machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

session = partial(gdb_session.session, lab="6", cpu="pv")
BASE = 0xffffffff80000000
CALL = """python
def call(name, *arguments):
    "A function of the guest's, which comes back to the breakpoint that it stands at."
    names = "pc rsp rdi rsi rax rcx rdx r8 r9 r10 r11".split()
    kept = {name: int(gdb.parse_and_eval(f"(long)${name}")) for name in names}
    sets = {"rdi": arguments[0], "rsi": arguments[1], "rsp": (kept["rsp"] - 256 & ~15) - 8, "*(long *)$rsp": kept["pc"], "pc": f"&{name}"}
    for to, value in sets.items():
        gdb.execute(f"set {to if '*' in to else '$' + to} = {value}")
    gdb.execute("continue", to_string=True)
    print(f"{name}: {int(gdb.parse_and_eval('(long)$rax'))}")
    for register, value in kept.items():
        gdb.execute(f"set ${register} = {value}")
end
"""


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


def tables(where):
    """Each byte of an entry may have a breakpoint before it is one; what is a page table GDB reads, and cannot write."""
    symbols = Symbols([guest("pv-tables")])
    at = {name: symbols.address(name) for name in ("top", "checks", "shared", "guest_main")}
    pfn = {name: (address - BASE) >> 12 for name, address in at.items()}
    entry = {name: symbols.address("first") + 8 * number for name, number in pfn.items()}
    claims = f"*(long *){entry['shared']:#x} & 0xffffffffff000 | 1"  # mmu_update's MACHPHYS_UPDATE of that frame
    text, console = session(where, "start pv-tables mem=40; audit", CALL + f"""
{"".join(f"break *{entry['guest_main'] + byte:#x}{chr(10)}" for byte in range(8))}
break pv_printf
continue
x/1xg {entry['guest_main']:#x}
python attempt("set var *(char *){entry['guest_main'] + 1:#x} = 0")
python attempt("set var *(char *){at['top'] + 8 * 511:#x} = 0")
python attempt("set var *(char *){at['checks']:#x} = 0")
python call("pv_update", "{claims}", {pfn['top']})
python attempt("set var *(char *){at['shared']:#x} = 0")
python call("pv_update", "{claims}", {pfn['shared']})
python attempt("set var *(char *){at['shared'] + 1:#x} = 0")
delete 9
break pv_exit
continue
delete
detach
python host_ends()
""")
    contains(text, "Breakpoint 9, ", "pv_printf", f"{entry['guest_main']:#x} <first+",
             f"Cannot access memory at address {entry['guest_main'] + 1:#x}",
             f"Cannot access memory at address {at['top'] + 8 * 511:#x}", "pv_update: 0", f"Cannot access memory at address {at['shared']:#x}",
             "pv_update: 0", "Breakpoint 10, ", "pv_exit", what=f"{where}: GDB writes no page table, whatever the guest says of its frames",
             console=console)
    ok(text.count("Cannot access") == 3, f"{where}: but memory", text=text)
    ok("\nd1| " in console and lines(console, 1)[-1].endswith(" 0 wrong; the end") and "audit: 0 differences" in console,
       f"{where}: the guest goes by its own tables, which are what they were", text=text, console=console)


def main():
    tests = []
    for where, test in (("qemu", stops), ("bochs", stops), ("qemu", own), ("qemu", tables)):
        reason = machine.missing(where) or (None if shutil.which("gdb") else "gdb is not here; install the package gdb")
        if reason:
            skip(f"{test.__name__} on {where}", reason)
        else:
            tests.append((where, partial(test, where)))
    at_once(tests)
    finish()


if __name__ == "__main__":
    main()
