#!/usr/bin/env python3
"""Model-specific registers under te, and those that svm and vmx have besides: those that a kernel looks for read as a constant, the others are #GP(0), none is the host's."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import ran  # noqa: E402
from harness import ROOT, finish, ok, run  # noqa: E402

ZERO = ["patch level", "MCG_CAP", "PERF_CTL0", "PERF_CTR3", "HWCR", "interrupt pending", "DE_CFG", "EFER",
        "SYSENTER_CS", "LSTAR", "GS base"]
FAULT = ["a hypervisor's", "behind the counters", "platform", "MISC_ENABLE"]
# Configuration of which svm and vmx have nothing. MISC_ENABLE is Intel's; Linux reads it before it can take a fault.
PLAIN = ["patch level", "PERF_CTL0", "PERF_CTR3", "HWCR", "interrupt pending", "DE_CFG", "platform", "MISC_ENABLE"]
EXPECTED = ([f"{name} read 0000000000000000, written" for name in ZERO]
            + ["APIC base read 0000000000000100, written"]
            + [f"{name} read: #GP, written: #GP" for name in FAULT])
EFER = {
    "efer=1": r"stopped: te has no syscall: it set EFER\.SCE.*wrmsr c0000080; .*limits\.md#refused\]",
    "efer=2": r"stopped: te has no long mode: it set EFER\.LME .*limits\.md#refused\]",
    "efer=3": r"d1\| : #GPpatch level",  # a reserved bit: the guest's own #GP
}


def boot(*words, lab="1", cpu="te"):
    """What the guest prints on te, or another engine."""
    return ran("qemu", ROOT / f"build/lab{lab}-solution/zeno.mb", f"panic=off -- start msr -- {' '.join(words)}; off",
               [ROOT / "build/guest/msr.elf"], cpu=cpu).text


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=1", "SOLUTION=1", "build")
    if not ok(built.status == 0, "the reference of Lab 1 builds", out=built.out):
        finish()
    console = boot()
    got = [line[4:] for line in console.splitlines() if line.startswith("d1| ")]
    ok(sorted(got) == sorted(EXPECTED) and "ended: exit code 0" in console, "each register is what it should be",
       console=console)
    for word, line in EFER.items():
        console = boot(word)
        ok(re.search(line, console), f"{word}: {line}", console=console)
    built = run("make", "-s", "-C", ROOT, "LAB=4s", "SOLUTION=1", "build")
    if ok(built.status == 0, "the reference of Lab 4s builds", out=built.out):
        console = boot(lab="4s", cpu="svm")
        lines = [f"d1| {name} read 0000000000000000, written" for name in PLAIN]
        lines += [f"d1| {name} read: #GP, written: #GP" for name in FAULT[:2]]
        ok(all(line in console.replace("\r", "").splitlines() for line in lines), "svm: what configures nothing reads as 0",
           console=console)
    finish()


if __name__ == "__main__":
    main()
