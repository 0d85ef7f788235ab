#!/usr/bin/env python3
"""A real GDB on guests of svm and vmx: their steps and breakpoints are real traps, and the guest sees none of them.

What a session did to a guest is judged by the guest's output, which must be the bare machine's, and by the handlers
that single steps went into. ZENO_ALL=1 has all of it with mmu=shadow, too.
"""

import os
import re
import shutil
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, finish, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
import gdb_session  # noqa: E402
from engine import assembled  # noqa: E402
from gdb_session import BUILT, at_once, bare, contains, guest, lines  # noqa: E402
from zeno.machines import machine  # noqa: E402

STEPS = """python
def value(name):
    return int(gdb.parse_and_eval(name)) & (1 << 64) - 1
def steps(count, over=()):
    "Single steps; a function of `over` runs to its return."
    for _ in range(count):
        if value("$pc") in over:
            gdb.execute(f"tbreak *{value('*(long *)$sp')}", to_string=True)
            gdb.execute("continue", to_string=True)
        else:
            gdb.execute("stepi", to_string=True)
        print("step", f"{value('$pc'):x} {value('$cs'):x} {value('$sp'):x} {value('$eflags') & 0xffffff:x}")
def listed():
    "The addresses in the guest's table `where`, which lead from `ready` on."
    word, wanted = value("&where"), []
    while (at := value(f"*(unsigned *){word}")):
        wanted.append(at)
        word += 4
    print("wanted", *(f"{at:x}" for at in wanted))
    return wanted
end
"""
LAB = {"svm": ("4s", "qemu", "svm"), "vmx": ("4", "bochs", "vmx"),
       "svm mmu=shadow": ("all", "qemu", "svm"), "vmx mmu=shadow": ("all", "bochs", "vmx")}


def session(engine, commands, script, options=""):
    """A session with the kernel of the engine's lab, on its machine."""
    lab, where, cpu = LAB[engine]
    return gdb_session.session(where, commands, STEPS + script, lab=lab, cpu=cpu, options=options)


def symbols(name):
    """{symbol: address} of a guest."""
    return {word: int(at, 16) for at, word in re.findall(r"^(\w+) \w (\S+)$", run("nm", guest(name)).out, re.M)}


def stepped(text):
    """[rip, cs, rsp, rflags] behind each step."""
    return [[int(word, 16) for word in line.split()[1:]] for line in text.splitlines() if line.startswith("step ")]


def long_mode(engine):
    """A guest in 64-bit code: its registers, steps into its handlers, by each way there is."""
    at = symbols("long")
    over = f"({at['line']},)"
    many, some, vectors = (66, 22, (6, 3, 14)) if engine.startswith("svm") else (12, 20, (6,))  # Bochs is slower
    text, console = session(engine, f"start long engine={engine}", f"""
break there
continue
info registers eip
mode
info registers rip
break registers
continue
stepi 20
info registers r8 r15 rip
x/2i $pc
vcpu
walk $rsp
vmexit out
python attempt('x/1xg 0xffff900000000000')
break faults
continue
python steps({many}, over={over})
echo rings\\n
break rings
continue
python steps({some}, over={over})
info registers r11
delete
detach
python host_ends()
""")
    faults, rings = text.split("\nrings\n")[0], text.split("\nrings\n")[-1]
    contains(text, "Breakpoint 1, there", "eip            0x", "the guest's code is 64-bit", f"rip            {at['there']:#x}",
             "Breakpoint 2, registers", "r8             0x1111111111111111", "r15            0x8888888888888888",
             "rol    $0x7,%rax", f"on {engine[:3]}, guest ring 0, 64-bit code", "r15 8888888888888888", "efer 501", "guest-physical",
             "Cannot access memory at address 0xffff900000000000",
             what=f"{engine}: 64-bit code has its sixteen registers, and an amd64's instructions", console=console)
    went = [step[0] for step in stepped(faults)]
    for vector in vectors:
        ok(at["stubs"] + 16 * vector in went and at["trapped"] in went,
           f"{engine}: a step of what raises vector {vector} ends at the guest's handler",
           steps=[hex(one) for one in went], text=text, console=console)
    went = stepped(rings)
    ok([at["user"], 0x33] in [step[:2] for step in went] and [at["called"], 0x18] in [step[:2] for step in went],
       f"{engine}: steps lead to ring 3 by sysret, and back by syscall", steps=went, text=text)
    ok(went and not any(step[3] & 0x100 for step in went), f"{engine}: and TF is not to be seen", steps=went)
    ok(lines(console, 1) == bare("long"), f"{engine}: what the guest saw is the bare machine's",
       got=console, expected=bare("long"), text=text)


def walks(engine):
    """With shadows, `walk` shows the guest's four tables beside those that the CPU walks."""
    text, console = session(engine, f"start long engine={engine}", f"""
break registers
continue
walk {symbols("long")["registers"]:#x}
kill
python host_ends()
""")
    both = re.findall(r"level (\d)  guest \S+: \S+ P\S+ +ours (\S+)", text)
    ok([level for level, _ in both] == ["4", "3", "2"] and all(int(ours, 16) & 1 for _, ours in both)
       and re.search(r"machine frame (\w+); ours: \1", text),
       f"{engine}: walk shows both tables of a guest in long mode", text=text, console=console)


def own(engine):
    """What the guest itself does with int3, TF and debug registers stays its own, debugger or not."""
    script = "break guest_main\ncontinue\nstepi 3\ndelete\ncontinue\npython host_ends()\n"
    text, console = session(engine, "start traps", script)
    contains(text, "Breakpoint 1, ", "guest_main", what=f"{engine}: GDB stops a guest with traps of its own", console=console)
    ok(lines(console, 1) == bare("traps"), f"{engine}: its int3, int1, and steps come to its own handlers",
       got=lines(console, 1), expected=bare("traps"), text=text)
    text, console = session(engine, "start steps; start steps", script)
    got = lines(console, 1)
    ok(len(got) > 40 and got[:len(got) // 2] == got[len(got) // 2:],
       f"{engine}: a guest that steps itself sees what it sees without a debugger", got=got, text=text)


def single(engine):
    """A step is one instruction, whatever holds its trap back, leads elsewhere, or pushes flags."""
    BUILT["stepped"] = assembled("hardware/stepped.asm")
    text, console = session(engine, f"start stepped engine={engine}", """
break ready
continue
python
steps(len(listed()))
end
delete
detach
python host_ends()
""")
    wanted = re.search("^wanted (.*)", text, re.M)
    went = [f"{step[0]:x}" for step in stepped(text)]
    ok(wanted and went == wanted[1].split(), f"{engine}: a step over mov ss, int, iret, popf, rep, sti, hlt is one step",
       got=" ".join(went), wanted=wanted and wanted[1], text=text)
    ok(lines(console, 1) == ["K"], f"{engine}: and pushf and int push the guest's own TF", console=console)


def sixteen(engine):
    """16-bit code, protected and in real mode, in segments that begin elsewhere than at 0: steps, a breakpoint, memory, words.

    Not a stop between the move to CR0 that leaves real mode and the jump behind it: handouts/emulators.md.
    """
    BUILT["sixteen"] = assembled("hardware/sixteen.asm")
    text, console = session(engine, f"start sixteen engine={engine}", """
break ready
continue
python
wanted = listed()
steps(17)
gdb.execute("mode")
gdb.execute(f"x/i {wanted[7]}")
end
vcpu
output/c *(char *)0x80140
echo \\n
python
gdb.execute(f"break *{wanted[-4]}")
gdb.execute("continue")
print("broke", f"{value('$pc'):x} {value('$cs'):x}")
steps(2)
end
delete
detach
python host_ends()
""")
    wanted, broke = (re.search(f"^{word} (.*)", text, re.M) for word in ("wanted", "broke"))
    there = wanted[1].split() if wanted else []
    went = [f"{step[0]:x}" for step in stepped(text)]
    ok(len(there) > 20 and went == there[:17] + there[-3:-1], f"{engine}: a step in 16-bit code is one instruction", got=" ".join(went),
       wanted=" ".join(there), text=text)
    ok(there and broke and broke[1] == f"{there[-4]} 703", f"{engine}: a breakpoint in real mode, by its linear address", text=text)
    contains(text, "the guest's code is 16-bit", "mov    %ax,%ds", ", guest ring 0, real mode", "119 'w'",
             what=f"{engine}: real mode is in ring 0, its code is shown as such, and memory is by linear addresses")
    ok(lines(console, 1) == ["K"], f"{engine}: and its code was not changed", console=console)


SHOWN = {"svm": """
vmcb
vmcb exitcode
vmcb intercepts[1]
python attempt('vmcb bogus')
""", "vmx": """
vmcs
vmcs exit_re
vmcs cs
python attempt('vmcs bogus')
"""}


def system(engine):
    """guest/os: from its kernel to a process, into the kernel by int 80, and what a VMCB or VMCS says.

    On Bochs a step takes a tenth of a second: a few of them, and the last goes back to the int 80 that the process has done.
    """
    at = symbols("os")
    inside, outside, back = (70, 54, "") if engine.startswith("svm") else (6, 2, "set var $pc = $back - 2\npython steps(1)\n")
    text, console = session(engine, f"start os engine={engine}", f"""
break syscall
continue
set var $back = f->eip
python steps({inside})
delete
tbreak *$back
continue
printf "in ring %d at %d\\n", $cs & 3, $eip == $back
python steps({outside})
{back}vcpu
vmexit out
{SHOWN[engine.split()[0]]}
kill
python host_ends()
""", options="poison=1")
    went = stepped(text)
    ok(len(went) == inside + outside + bool(back) and not at["stub_32"] in [step[0] for step in went],
       f"{engine}: no step leads into the clock's handler", steps=went, text=text)
    ok(any(a[1] & 3 == 3 and b[1] & 3 == 0 for a, b in zip(went[inside:], went[inside + 1:])),
       f"{engine}: a step of int 80 leads from ring 3 into the kernel", steps=went, text=text)
    contains(text, "in ring 3 at 1", f"on {engine[:3]}, guest ring 0", "[Inferior 1 (process 1) killed]",
             what=f"{engine}: from a system call back to its process", console=console)
    if engine.startswith("svm"):
        contains(text, "* exitcode         000000000000007b  was", "IOIO", "* rip", "exitcode         000000000000007b",
                 " VMRUN", " ICEBP", "a VMCB has no field bogus", what="svm: vmcb says what the last exit changed")
    else:
        contains(text, "* exit_reason          0000001e  was", "I/O instruction", "* rip", "* exit_reason          0000001e",
                 "  cs_rights", "Zeno shows no field bogus", what="vmx: vmcs says what the last exit changed")


def main():
    built = [run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build") for lab in ("4s", "4", "all")]
    if not ok(not any(one.status for one in built), "the references of Lab 4, of 4s and of all labs build", out=[one.out for one in built]):
        finish()
    wanted = sys.argv[1:]
    every, tests = bool(os.environ.get("ZENO_ALL")), []
    for test, engine, often in ((long_mode, "svm", True), (own, "svm", True), (system, "svm", True), (long_mode, "vmx", True),
                                (single, "svm", True), (single, "vmx", True), (sixteen, "svm", True), (sixteen, "vmx", True),
                                (walks, "svm mmu=shadow", True), (long_mode, "svm mmu=shadow", False),
                                (system, "svm mmu=shadow", False), (system, "vmx", True), (long_mode, "vmx mmu=shadow", False)):
        names = {test.__name__, f"{test.__name__}-{engine.replace(' mmu=', '-')}"}
        if not (names & set(wanted) if wanted else often or every):
            continue
        reason = machine.missing("qemu") or machine.missing(LAB[engine][1]) or \
            (None if shutil.which("gdb") else "gdb is not here; install the package gdb")
        if reason:
            skip(f"{test.__name__} on {engine}", reason)
        else:
            tests.append((LAB[engine][1], partial(test, engine)))
    at_once(tests)
    finish()


if __name__ == "__main__":
    main()
