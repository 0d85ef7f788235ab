#!/usr/bin/env python3
"""A real GDB on guests of bt, and on guests with page tables: they look as under te, and as on the bare machine."""

import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
import gdb_session  # noqa: E402
from gdb_session import at_once, bare, contains, guest, lines  # noqa: E402
from zeno.machines import machine  # noqa: E402

STEPS = """python
def steps(count):
    for _ in range(count):
        gdb.execute("stepi", to_string=True)
        print("step", *(f"{int(gdb.parse_and_eval('$' + r)) & 0xffffffff:08x}"
                        for r in ("eip", "cs", "esp", "eax", "ebx", "ecx", "edx", "eflags")))
end
"""


def session(where, commands, script):
    """A session with Lab 3's kernel."""
    return gdb_session.session(where, commands, STEPS + script, lab=3)


def symbol(name, of):
    """The address of a guest's symbol, as GDB prints it."""
    return re.search(rf"^(\w+) \w {re.escape(name)}$", run("nm", guest(of)).out, re.M)[1]


def stepped(text):
    """The registers behind each step. RF is a matter of the emulator."""
    found = [line.split()[1:] for line in text.splitlines() if line.startswith("step ")]
    return [[*rest, f"{int(flags, 16) & ~0x10000:x}"] for *rest, flags in found]


def blocks(where):
    """Breakpoint, steps and exits in translated code, and the code itself."""
    again, add_up, put_byte = (symbol(name, "blocks") for name in ("guest_main.again", "add_up", "put_byte"))
    at_out = int(put_byte, 16) + 5
    script = "break guest_main\ncontinue\nx/1xb $pc\npython steps(40)\n"
    text, console = session(where, "start blocks engine=bt", script + f"""
delete
break put_byte
continue
guest-bt
tc
tc 0x{again}
tc &add_up
vmexit out
tc $pc - 1
monitor tc {at_out:#x}
set var $ebx = ($ebx & 0x0fffffff) | 0x50000000
exits 1
python attempt('tc bogus')
python attempt('tc 0x12')
delete
detach
python host_ends()
""")
    native, _ = session("qemu", "start blocks engine=te", script + "kill\npython host_ends()\n")
    contains(text, "Breakpoint 1, guest_main", "0x53", "Breakpoint 2, put_byte", f"#0 {put_byte} put_byte",
             what=f"{where}: GDB stops translated code at a guest's function, and the guest has no int3", console=console)
    ok(len(stepped(native)) == 40 and stepped(text) == stepped(native),
       f"{where}: each step is one instruction of the guest's, with the registers of code in ring 1",
       got=stepped(text), expected=stepped(native), text=text)
    contains(text, " of 2097152 bytes of code", "call-outs for int3", f"block {again} guest_main[again]",
             f"{again}  pushf", "<the guest's IF>", "cli", "$0x0,%gs:0x0 <the guest's IF>",
             f"call 0x{int(add_up, 16):x} <add_up>", f"; to {add_up}, chained",
             f"{add_up}  add %ecx,%ebx", "ret", "<target>", "int $0xe0  ; call-out where the table has no entry",
             f"{at_out:08x}  out %al,(%dx)", "int $0xe0  ; call-out", f"{at_out:08x}: 1 bytes, ", "ee ", "cde0",
             "call-out", what=f"{where}: tc shows blocks disassembled beside their translations")
    contains(text, "d1 blocks: exit ", "call-out at ", "out: port 3f8 <- 30", "port I/O",
             'No symbol "bogus" in current context.', "no block has 00000012",
             what=f"{where}: vmexit stops behind a call-out")
    expected = [f"{line[0]}5{line[2:]}" for line in bare("blocks")]
    ok(lines(console, 1) == expected, f"{where}: what GDB wrote shows, and nothing else",
       got=console, expected=expected, text=text)


def addresses(walk):
    """(guest-physical address, machine frame, the frame of ours) of a walk's end."""
    return re.findall(r"guest-physical (\w+): machine frame (\w+); ours: (?:not filled, )?(\w+)", walk)


def pager(where, engine):
    """A guest's own page tables: breakpoints before they are there, walks, memory by its addresses."""
    text, console = session(where, f"start pager engine={engine}", """
python attempt("x/1xw 0xc0000000")
break *0xc0000123
delete
break paging_on
continue
python steps(24)
delete
break page_fault
continue
walk 0xc0000000
walk $cr2
walk $pc
walk 0xffd00000
x/1xw 0xc0000000
python attempt("x/1xw $cr2")
delete
break load_cr3
continue
walk 0xc0000000
stepi
stepi
p/x $cr3
continue
stepi 2
p/x $cr3
x/1xw 0xc0000000
walk 0xc0000000
set var *(int *)0xc0000000 = 0x100
delete
vmexit cr
detach
python host_ends()
""")
    taken = [step[0] for step in stepped(text)]
    ok(len(taken) == 24 and all(a != b for a, b in zip(taken, taken[1:])),
       f"{where}, {engine}: a hidden fault is no step", steps=taken, text=text)
    contains(text, "Cannot access memory at address 0xc0000000", "Breakpoint 2, paging_on",
             "Breakpoint 3, page_fault (address=3221229568, error=2)",
             "d1: linear c0000000, 32-bit paging", "level 4  guest has no such level",
             "level 2  guest ", " PW-A--", "level 1  guest ", " PW-A--", " P--AD-", "guest-physical",
             "level 1  guest ", "0000000000000000 ------", "guest: page fault, error code 0",
             "guest-physical", "page fault, error code 0; ours: the VMM window", "0x600d600d",
             "Cannot access memory at address 0xc0001000",
             what=f"{where}, {engine}: walk shows both tables side by side, and memory is the guest's",
             console=console)
    ends = addresses(text)
    ok(len(ends) >= 4 and all(int(ours, 16) in (0, int(mfn, 16)) for _, mfn, ours in ends)
       and ends[-1] != ends[-2] and ends[0] == ends[-2],
       f"{where}, {engine}: an address leads elsewhere once CR3 has another root", ends=ends, text=text)
    contains(text, "Breakpoint 4, load_cr3", "0xc0000000:\t0x00000000", "d1 pager: exit ", "mov to cr: cr3 <- ",
             what=f"{where}, {engine}: and so do GDB's reads")
    expected = bare("pager")
    expected[-1] = expected[-1].replace("00000032", "00000132")
    ok(lines(console, 1) == expected, f"{where}, {engine}: what GDB wrote to the other space is all that differs",
       got=console, expected=expected, text=text)


def system(where, engine):
    """guest/os: its kernel and a process of its; a clock that ticks while GDB steps."""
    text, console = session(where, f"start os engine={engine}", """
break syscall
continue
x/1i f->eip
walk f->esp
set var $back = f->eip
python steps(150)
delete
tbreak *$back
continue
printf "in ring %d at %d\\n", $cs & 3, $eip == $back
python steps(6)
vmexit int
vcpu
kill
python host_ends(); time.sleep(0.5); print("all is said")
""")
    clock = int(symbol("stub_32", "os"), 16)
    taken = [int(step[0], 16) for step in stepped(text)]
    ok(len(taken) == 156 and not any(clock <= eip < clock + 8 for eip in taken),
       f"{where}, {engine}: no step leads into the clock's handler", steps=[hex(eip) for eip in taken], text=text)
    if where == "qemu":
        ok(0 < text.find("all is said") < text.find("[zeno] shutdown"), f"{engine}: how the machine ended is said behind GDB", text=text)
    contains(text, "Breakpoint 1, syscall (f=", "pop ", "guest-physical", "Temporary breakpoint 2", "in ring 3 at 1",
             "int: vector 80 to its handler", "guest ring 0", "[Inferior 1 (process 1) killed]",
             what=f"{where}, {engine}: from a system call back to its process, and on to the next", console=console)


def crowd(where, engine):
    """Four sessions at once on a slow machine: the host's clock ticks behind a step, and is served all the same."""
    script = "break paging_on\ncontinue\npython steps(24)\ndelete\ndetach\npython host_ends()\n"
    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(lambda _: session(where, f"start pager engine={engine}", script), range(4)))
    ok(all(len(stepped(text)) == 24 and lines(console, 1) == bare("pager") for text, console in ends),
       f"{where}, {engine}: no tick of the host's is lost behind a step", ends=ends)


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=3", "SOLUTION=1", "build")
    if not ok(built.status == 0, "the reference of Lab 3 builds", out=built.out):
        finish()
    wanted, tests = sys.argv[1:], []
    for test, *how in ((blocks, "qemu"), (blocks, "bochs"), (pager, "qemu", "te"), (pager, "qemu", "bt"),
                       (pager, "bochs", "bt"), (crowd, "qemu", "bt"), (system, "qemu", "te"), (system, "qemu", "bt")):
        if wanted and not {test.__name__, "-".join((test.__name__, *how))} & set(wanted):
            continue
        reason = machine.missing("qemu") or machine.missing(how[0]) or \
            (None if shutil.which("gdb") else "gdb is not here; install the package gdb")
        if reason:
            skip(f"{test.__name__} on {' '.join(how)}", reason)
        else:
            tests.append((how[0], partial(test, *how)))
    at_once(tests)
    finish()


if __name__ == "__main__":
    main()
