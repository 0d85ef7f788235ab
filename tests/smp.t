#!/usr/bin/env python3
"""The platform pc-apic: local APICs, the I/O APIC, and a second CPU (guest/smp), as on the bare machine.

On QEMU the bare machine has two CPUs (-smp 2), and its clock counts instructions: nothing depends on time. Debian's
Bochs is built for one: there the guest is told so, and does what one CPU can. A guest that knows no APIC must not notice that there is one.
"""

import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
import gdb_session  # noqa: E402
from engine import Engine, boot, each, guest  # noqa: E402
from gdb_session import contains  # noqa: E402
from harness import ROOT, finish, ok, run, skip  # noqa: E402

ENGINES = {"svm": Engine("5", "svm"), "vmx": Engine("5", "vmx")}
RUNS = (("svm", "qemu"), ("vmx", "bochs"), ("svm", "bochs"))
PLATFORM = "platform=pc-apic"


def has(where):
    """False, said once more: there is no Bochs."""
    if where == "bochs" and not shutil.which("bochs"):
        skip("on Bochs", "Bochs is not installed: make demo installs it")
        return False
    return True


def said(text, number=1):
    """What guest d<number> has printed."""
    return re.findall(rf"^d{number}\| (.*)$", text, re.M)


def two():
    """Everything, with two CPUs; and, on svm, with poison=1, which finds who uses state without asking.

    On vmx an exit with it takes longer than the millisecond between two ticks of the guest's APIC, 10,000 instructions on
    Bochs: the guest comes to nothing but their handler. deliveries.t has it there.
    """
    bare = boot("qemu", "svm", guest("smp"), extra=["-smp", "2"], icount=True).splitlines()
    ok("started again = 00010002" in bare, "bare QEMU: it comes to its end", text=bare)
    for engine, where in ((name, where) for name, where in RUNS[:2] if has(where)):  # not Bochs' svm: emulators.md
        for options in ("", "poison=1") if engine == "svm" else ("",):
            text = ENGINES[engine].host([f"start smp {PLATFORM} vcpus=2"], ["smp"], where, options, icount=where == "qemu")
            ok(said(text) == bare and "smp: ended: exit code 0" in text,
               f"{engine} on {where} {options}: as on bare QEMU".rstrip(), bare="\n".join(bare), text=text)


def one():
    """What one CPU can do."""
    bare = boot("qemu", "svm", guest("smp"), cmdline="cpus=1", icount=True).splitlines()
    for engine, where in ((name, where) for name, where in RUNS if has(where)):
        text = ENGINES[engine].host([f"start smp {PLATFORM} -- cpus=1"], ["smp"], where, icount=where == "qemu")
        ok(len(bare) > 20 and said(text) == bare and "smp: ended: exit code 0" in text,
           f"{engine} on {where}: as bare QEMU with one CPU", bare="\n".join(bare), text=text)


def without_lab_5():
    """Labs 4 and 4s have one CPU a guest, and devices in memory by Zeno's own code, which does as much of an access as kernels need."""
    host = Engine("4s", "svm").host
    bare = boot("qemu", "svm", guest("smp"), cmdline="cpus=1", icount=True).splitlines()
    text = host([f"start smp {PLATFORM} -- cpus=1", f"start smp {PLATFORM} -- attack=widths", f"start smp {PLATFORM} vcpus=2"], ["smp"],
                icount=True)
    ok(said(text) == bare and "smp: ended: exit code 0" in text, "svm without Lab 5: as on bare QEMU", bare="\n".join(bare), text=text)
    ok(re.search("^d1 smp: stopped: 4 bytes at fedffffe, beyond RAM, are more than a register", text, re.M),
       "what goes over the end of a page ends a kernel in a line", text=text[-2000:])
    ok("this build has one vCPU a guest" in text, "a second CPU is refused in a line", text=text[-600:])


def classic():
    """Guests that know no APIC get their interrupts as before."""
    names = ("hello", "pc", "os", "long")
    ENGINES["svm"].words = PLATFORM
    ENGINES["svm"].same("qemu", names)
    ENGINES["svm"].words = ""


ATTACKS = {
    # attack: what the last line says, besides "exit code 7"
    "widths": "", "vectors": "", "messages": "", "level": "", "storm": "", "start-ups": "",
    "init-self": "it sent INIT to its first CPU",
    "base": "exit code 1",  # #GP, and its handler ends the machine
    "second": r"triple fault \[exit \d+ of CPU 1",
}


def deadlines():
    """The timer by deadlines, of Lab 5; whoever uses the time stamp's offset asks for it."""
    five = Engine("5", "svm")
    for options in "", "poison=1":
        text = five.host([f"start smp {PLATFORM} vcpus=2 -- deadlines=30"], ["smp"], "qemu", options)
        ok("30 deadlines, 30 came, 0 too early" in text, f"deadlines on svm {options}".rstrip(), text=text)
    text = Engine("4s", "svm").host([f"start smp {PLATFORM} -- deadlines=30"], ["smp"], "qemu")
    ok("CPUID says: no deadlines" in text, "without Lab 5 CPUID says that there are none", text=text)


def hostile(engine, where):
    """What nobody should do to an APIC ends with the guest's own end, or in one line; the next guest runs."""
    for first in ("widths", "vectors", "messages", "level"), ("storm", "start-ups", "init-self", "base", "second"):
        commands = [f"start smp {PLATFORM} vcpus=2 -- attack={name}" for name in first]
        text = ENGINES[engine].host([*commands, "start hello"], ["smp", "hello"], where)
        parts = each(text)
        for name, part in zip(first, parts):
            ok(re.search(rf"^d\d+ smp: (ended|stopped): .*({ATTACKS[name] or 'exit code 7'})", part, re.M),
               f"{engine}: {name} is contained", text=part)
        ok(len(parts) == len(first) + 1 and "hello: ended: exit code 0" in parts[-1], f"{engine}: and the next guest runs",
           text=text[-3000:])
    text = ENGINES[engine].host([f"start smp {PLATFORM} vcpus=3 & -- attack=forever", "start hello", "stop d1", "start hello",
                                 "threads"], ["smp", "hello"], where)
    ok(text.count("hello: ended: exit code 0") == 2 and "by the monitor's stop command" in text
       and "no threads" in text, f"{engine}: a storm that never ends leaves others their turn, and is stopped", text=text)


def debugged():
    """Each vCPU is a thread of GDB's: a breakpoint of the second one's stops both, and each has registers of its own."""
    text, console = gdb_session.session("qemu", f"start smp engine=svm {PLATFORM} vcpus=2", """
break second_main
continue
info threads
thread 1
info registers eip
thread 2
stepi
delete
detach
python host_ends()
""", lab="5", cpu="svm")
    contains(text, "Breakpoint 1, second_main", "smp on svm, held", "smp on svm, held", "Switching to thread 1",
             "eip", "Switching to thread 2", what="GDB: two threads, and the second one's breakpoint")
    ok("smp: ended: exit code 0" in console, "GDB: and let go both come to their end", text=console)


def refused():
    """What can't be is said in a line."""
    text = ENGINES["svm"].host([f"start hello {PLATFORM} vcpus=5", "start hello vcpus=0"], ["hello"])
    ok(text.count("a domain has 1 to 4 vCPUs") == 2, "svm: five vCPUs are too many, none too few", text=text)
    text = ENGINES["svm"].host(["start hello vcpus=4294967297", "start hello page=2m page=3g"], ["hello"])
    ok(text.count("invalid argument") == 2 and "started on" not in text, "svm: a number of 33 bits is not cut, "
       "and a bad page= behind a good one is refused", text=text)
    text = ENGINES["svm"].host([f"start smp {PLATFORM} vcpus=2", "vcpu d1", "vcpu d1.1"], ["smp"])
    ok("d1 smp, vCPU 0 on svm" in text and "d1 smp, vCPU 1 on svm" in text, "vcpu names the CPU that it shows", text=text)


def main():
    for lab in ("4", "4s", "5"):
        built = run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build")
        if not ok(built.status == 0, f"the reference of Lab {lab} builds", out=built.out):
            finish()
    two()
    without_lab_5()
    one()
    classic()
    deadlines()
    for engine, where in RUNS[:2]:
        if has(where):
            hostile(engine, where)
    debugged()
    refused()
    finish()


if __name__ == "__main__":
    main()
