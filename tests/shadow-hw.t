#!/usr/bin/env python3
"""The engines svm and vmx without nested tables (`mmu=shadow`): the CPU walks Lab 2's shadows, or the flat map.

In a build of all labs. Guests print what the bare machine prints, svm's on QEMU and on Bochs' ryzen, vmx's on Bochs; behind
each the auditor finds no difference between its tables and their shadows. The hostile guests are contained. `tests/shadow-hw.t
all`, as check-all (ZENO_ALL=1), runs each guest and each attack on vmx, too.
"""

import os
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import ENDING, PER_BOOT, Engine, assembled, folder  # noqa: E402
from harness import finish, ok, skip  # noqa: E402

SVM = Engine("all", "svm", "engine=svm mmu=shadow")
VMX = Engine("all", "vmx", "engine=vmx mmu=shadow")
GUESTS = ("hello", "tables", "crowded", "traps", "audit", "paging", "pager", "os", "long")
PAGED = ("paging", "os", "long")
ON_BOCHS = ("paging", "long")


def same(engine, where, names, options=""):
    text = engine.same(where, names, options, ("audit",))
    found = re.findall(r"^audit: (\d+) differences$", text, re.M)
    ok(found and set(found) == {"0"}, f"{engine.cpu} on {where} {options}: the auditor agrees, {len(found)} times",
       text=text[-3000:])


def tasks(engine, where):
    """A task switch loads CR3: Bochs' CPU asks before, on QEMU it is seen at the next exit, and what it did until then is not."""
    text = engine.host([engine.start("hostile", f"-- attack={name}") for name in ("tss", "task-gate")] + [engine.start("hello")],
                       ["hostile", "hello"], where)
    ok(text.count("hostile: stopped: Zeno switches no tasks") == 2 and "hello: ended: exit code 0" in text,
       f"{engine.cpu} on {where}: a guest that switches tasks is ended", text=text)


def modes():
    """An engine says which MMU modes it has; a build without Lab 2 has no shadows."""
    text = SVM.host(["start hello engine=svm", "start hello engine=svm mmu=nested", "start hello mmu=nested", "engines"], ["hello"])
    ok(text.count("hello: ended: exit code 0") == 2 and "engine te has no MMU mode nested" in text
       and re.search(r"svm .*mmu=nested, mmu=flat, mmu=shadow", text), "modes by name", text=text)
    text = Engine("4s", "svm").host(["start hello mmu=shadow"], ["hello"])
    ok("no MMU mode shadow" in text, "no Lab 2, no shadows", text=text)


def by_dma():
    """A page table that is tracked changes by DMA: its shadow does, too, as the auditor says, and the guest's next walks."""
    disk = folder() / "zeros"
    disk.write_bytes(bytes(32 * 512))
    words = "platform=pc-apic disk=zeros"
    text = SVM.host([SVM.start("remap", words), "audit", f"start remap engine=svm mmu=nested {words}"],
                    [assembled("disk/remap.asm"), disk])
    ok(text.count("remap: ended: exit code 0") == 2 and "audit: 0 differences" in text,
       "a page table in use is written by DMA", text=text)


def in_long_mode():
    """The auditor looks at what the CPU walks while the guest is in long mode."""
    text = SVM.host([SVM.start("long")], ["long"], options="audit=1")
    ok("audit: " not in text and "panic" not in text and "long: ended: exit code 0" in text,
       "an audit at each load of CR3, in long mode, too", text=text)
    text = SVM.host(["start long engine=svm mmu=nested", "audit", "damage 1", "start hello engine=te", "audit"], ["long", "hello"],
                    options="audit=8")
    ok(text.count("audit: 0 differences") == 2 and text.count("damage: level ") == 4 and "te with" in text,
       "where there are both kinds of tables each guest has its auditor", text=text)


def high_cr3(engine, where):
    """A bit of CR3 beyond the CPU's physical addresses is #GP in long mode, whoever does the move."""
    text = engine.host([f"start alone {engine.words} -- h", "start hello"], [assembled("svm/alone.asm"), "hello"], where)
    ok("d1| hF" in text and "hello: ended: exit code 0" in text, f"{engine.cpu} on {where}: a high bit of CR3 is #GP", text=text)


def real_mode():
    """VT-x has real mode only with EPT ("unrestricted guest"); a guest that goes there ends, with the reason."""
    for options in ("", "poison=1"):
        text = VMX.host([f"start real {VMX.words}", "start hello"], [assembled("vmx/real.asm"), "hello"], "bochs", options)
        ok("d1 real: stopped: without nested paging VT-x has no real mode (mmu=nested has)" in text
           and "hello: ended: exit code 0" in text, f"vmx {options}: real mode without EPT is refused in words", text=text)


def main():
    if not SVM.kernel.is_file():
        print("1..0 # SKIP the labs have no reference here")
        return
    same(SVM, "qemu", GUESTS)
    same(SVM, "qemu", PAGED, "poison=1")
    in_long_mode()
    by_dma()
    high_cr3(SVM, "qemu")
    SVM.contains("qemu", ENDING)
    SVM.runs_away("qemu")
    tasks(SVM, "qemu")
    if shutil.which("bochs"):
        everything = "all" in sys.argv[1:] or bool(os.environ.get("ZENO_ALL"))
        same(SVM, "bochs", ON_BOCHS)
        tasks(SVM, "bochs")
        same(VMX, "bochs", GUESTS if everything else PAGED)
        same(VMX, "bochs", PAGED if everything else ON_BOCHS, "poison=1")
        VMX.contains("bochs", ENDING if everything else ENDING[:PER_BOOT])
        tasks(VMX, "bochs")
        high_cr3(VMX, "bochs")
        real_mode()
    else:
        skip("the same on Bochs", "Bochs is not installed: make demo installs it")
    modes()
    finish()


main()
