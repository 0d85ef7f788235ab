#!/usr/bin/env python3
"""Debian's 32-bit Linux, which nobody here wrote: bare, and on Zeno's engines.

tools/linux_guest.py fetches the kernel and makes a RAM disk around a static busybox; its first process types the
lines of guest/linux/session. What it prints from its first prompt on must be guest/linux/transcript.

`tests/linux.t bochs` boots it on bt on Bochs, and nothing else: 150 seconds of CPU, too many for make check;
`tests/linux.t svm` boots both kernels on AMD-V, of which make check has one.
"""

import lzma
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
import vmlinux  # noqa: E402
from zeno.machines import machine  # noqa: E402

TRANSCRIPT = ROOT / "guest/linux/transcript"
LIMIT = machine.Limits(instructions=60_000_000_000, cpu_seconds=600)
# Engine, lab, machine's CPU, words for the kernel. Without reservetop bt's window lies where the kernel's fixed maps are,
# and has to move; with `shell` a shell on the console, whose interrupts bring what is typed, comes before the end. A boot
# takes 40 s of CPU on bt, so each kernel has one, and each of these two things is there in one and not in the other.
# The shell is PAE's.
SHELL_WORDS = linux_guest.CMDLINE.replace("reservetop=8M", "shell")
ENGINES = [("bt", 3, "te", "vmlinuz", linux_guest.CMDLINE),
           ("bt", 3, "te", "vmlinuz-pae", SHELL_WORDS),
           ("svm", "4s", "svm", "vmlinuz-pae", SHELL_WORDS)]
# `tests/linux.t svm`, and make check-all: 15 s of CPU each.
MORE_ON_SVM = [("svm", "4s", "svm", "vmlinuz", SHELL_WORDS),
               ("svm", "4s", "svm", "vmlinuz-pae", linux_guest.CMDLINE)]
# Bochs' Athlon has more than Zeno has a virtual form of (grade/machines.toml); and at its usual pace, 10 million instructions
# a second, Linux would have no time left between two ticks of its clock.
BOCHS_WORDS = (linux_guest.CMDLINE + " clearcpuid=sep,apic,mce,mca,mtrr,pat,pse36,vme,de,fxsr_opt tsc_early_khz=200000 "
               "lpj=1000000")
BOCHS_PACE = ("cpu: ips=200000000",)
BOCHS_LIMIT = machine.Limits(instructions=None, cpu_seconds=900)
TYPED = "_echo~$((6*7))~typed_exit_"
SHELL = re.compile(r"\n\nBusyBox .*?^42 typed\nzeno# exit\n", re.M | re.S)
KERNEL_LINE = re.compile(r"^\[ *\d+\.\d+\] .*\n?", re.M)


def session(output):
    """What the session printed, without lines of the kernel's own."""
    text = KERNEL_LINE.sub("", output.replace("\r", ""))
    return text[text.find("zeno# "):] if "zeno# " in text else text


def without_network():
    """The tool with sources that have nothing: one line, and no debris."""
    place = folder()
    (place / "conf").write_text(f'Dir::Etc::sourcelist "{place}/none";\n'
                                f'Dir::Etc::sourceparts "{place}/none.d";\n')
    done = run(sys.executable, TOOLS / "linux_guest.py",
               env={"ZENO_LINUX": place / "linux", "APT_CONFIG": place / "conf"})
    ok(done.status == 1 and re.fullmatch(r"no Linux guest: no linux-image-686 for i386 in .*\n",
                                         done.out),
       "without the packages the tool says so in one line", status=done.status, out=done.out)
    ok(not (place / "linux/vmlinuz").exists(), "and leaves no half of a guest")


def archive():
    """The RAM disk's format, read by another hand: cpio's fields are where newc has them."""
    data = linux_guest.initrd(b"busybox", b"echo hello\n")
    at, names = 0, {}
    while True:
        fields = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        end = at + 110 + fields[11]
        name = data[at + 110:end - 1].decode()
        start = (end + 3) & ~3
        names[name] = (fields, data[start:start + fields[6]])
        at = (start + fields[6] + 3) & ~3
        if name == "TRAILER!!!":
            break
    ok(at == len(data) and names["etc/session"][1] == b"echo hello\n"
       and names["dev/console"][0][9:11] == [5, 1] and names["init"][0][1] == 0o100755,
       "the RAM disk is a cpio archive of the form newc", names=list(names))


def kernel_itself():
    """What tools/vmlinux.py takes out of a bzImage that is made here: xz, LZ4 with a match that overlaps itself, neither."""
    plain = b"\x7fELF" + 300 * b"ab" + b"end"
    block = bytes([0x6F]) + b"\x7fELFab" + bytes([2, 0, 255, 255, 598 - 4 - 15 - 510]) + b"\x30end"
    size = len(plain).to_bytes(4, "little")
    packed = {"xz": lzma.compress(plain, check=lzma.CHECK_CRC32) + size,
              "LZ4": vmlinux.LZ4 + len(block).to_bytes(4, "little") + block + size}
    for how, data in packed.items():
        head = bytearray(1024)
        head[0x1F1] = 1
        head[0x202:0x206] = b"HdrS"
        head[0x248:0x250] = (8).to_bytes(4, "little") + len(data).to_bytes(4, "little")
        ok(vmlinux.unpacked(bytes(head) + bytes(8) + data) == plain, f"a kernel comes out of {how}")
    for wrong in (bytes(head) + bytes(8) + b"gzip" + data, b"short" * 200):
        try:
            vmlinux.unpacked(wrong)
            ok(False, "another packing is refused")
        except vmlinux.NotUnpacked as why:
            ok("is" in str(why), "another packing is refused", why=why)


def bare(kernel):
    result = machine.boot(kernel=linux_guest.PLACE / kernel, mem=64, cpu="te", limits=LIMIT,
                          modules=[(linux_guest.PLACE / "initrd", "")], idle=False,
                          cmdline=linux_guest.CMDLINE)
    got, code = session(result.text()), result.code
    result.cleanup()
    ok(got == TRANSCRIPT.read_text() and code == 0, f"bare, {kernel} types its session and switches itself off",
       got=got, end=result.end)


def on_zeno(engine, lab, cpu, kernel, words):
    """The same on an engine."""
    name = f"{kernel} on {engine} (Lab {lab}, {words.split()[1]} ...)"
    built = run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build")
    if not ok(built.status == 0, f"the reference of Lab {lab} builds", out=built.out):
        return
    result = machine.boot(kernel=ROOT / f"build/lab{lab}-solution/zeno.mb", cpu=cpu, limits=LIMIT,
                          modules=[(linux_guest.PLACE / kernel, words),
                                   (linux_guest.PLACE / "initrd", "")], idle=False,
                          cmdline=f"panic=off -- start {kernel} engine={engine} mem=64 -- "
                                  f"boot=linux initrd=initrd input={TYPED}; off")
    judge(result, name, "shell" in words.split())


def judge(result, name, types):
    """A run of Zeno's that should have gone through the session and, if it `types`, through a shell."""
    console = result.text()
    output = b"".join(bytes.fromhex(line.split()[1]) for _, line in result.tagged("out"))
    result.cleanup()
    got, typed = SHELL.subn("", session(output.decode("utf-8", "replace")))
    ok(got == TRANSCRIPT.read_text(), f"{name} its session is the bare machine's", console=console[-5000:])
    ok(typed == types, f"{name} a shell has done what was typed, if there is one", console=console[-5000:])
    ok("ended: exit code 0" in console, f"{name} it switches itself off", console=console[-2000:])


def on_bochs():
    """bt, whose guest's ring 3 meets segment limits here."""
    disk = folder() / "linux.img"
    boots = ROOT / "build/boot"
    made = run(sys.executable, TOOLS / "mkimage.py", "-o", disk, "--mbr", boots / "mbr.bin", "--loader",
               boots / "loader.bin", "--kernel", ROOT / "build/lab3-solution/zeno.mb",
               "--module", linux_guest.PLACE / "vmlinuz", f"vmlinuz {BOCHS_WORDS}",
               "--module", linux_guest.PLACE / "initrd", "initrd", "--cmdline",
               "panic=off -- start vmlinuz engine=bt mem=64 -- boot=linux initrd=initrd; off")
    if ok(made.status == 0, "a disk for Bochs is made", out=made.out):
        judge(machine.boot(machine="bochs", disk=disk, cpu="te", limits=BOCHS_LIMIT, idle=False, extra=BOCHS_PACE),
              "on bt on Bochs", False)


def refusals():
    """Images and words that can't be started, each with its line."""
    place = folder()
    image = (linux_guest.PLACE / "vmlinuz").read_bytes()
    (place / "cut").write_bytes(image[:-4096])
    (place / "text").write_bytes(b"no kernel\n" * 100)
    (place / "initrd").write_bytes(b"x")
    lines = [
        ("start cut mem=64 -- boot=linux", "protected-mode part goes beyond the file's end"),
        ("start text mem=64 -- boot=linux", "it is no Linux kernel: it has no setup header"),
        ("start initrd mem=64 -- boot=linux", "the file is shorter than a Linux setup header"),
        ("start whole mem=16 -- boot=linux", "it needs more memory to unpack itself"),
        ("start whole mem=64 -- boot=linux initrd=none", "no module is called as its initrd= says"),
    ]
    (place / "whole").write_bytes(image)
    result = machine.boot(kernel=ROOT / "build/lab3-solution/zeno.mb", cpu="te", limits=LIMIT,
                          modules=[(place / name, "") for name in ("cut", "text", "initrd", "whole")],
                          cmdline=f"panic=off -- {'; '.join(line for line, _ in lines)}; off")
    console = result.text()
    result.cleanup()
    for line, why in lines:
        ok(why in console, f"{line}: refused", console=console)


def memtest():
    """Debian's memtest86+ is loaded and runs until it finds long mode, which CPUID can't hide, and turns it on."""
    result = machine.boot(kernel=ROOT / "build/lab3-solution/zeno.mb", cpu="te", limits=LIMIT,
                          modules=[(linux_guest.PLACE / "memtest", "console=ttyS0,115200")],
                          cmdline="panic=off -- start memtest engine=bt mem=64 -- boot=linux x; off")
    console = result.text()
    result.cleanup()
    ok(re.search(r"stopped: bt has no long mode: it set EFER.LME .*wrmsr c0000080", console), "memtest86+ comes as far as long mode",
       console=console[-3000:])


def main():
    if not sys.argv[1:]:
        without_network()
        archive()
        kernel_itself()
    try:
        linux_guest.bring()
        linux_guest.make_initrd()
    except linux_guest.NoGuest as why:
        skip("Debian's Linux", f"it could not be fetched: {why}")
        finish()
    if "bochs" in sys.argv[1:]:
        built = run("make", "-s", "-C", ROOT, "LAB=3", "SOLUTION=1", "build")
        if ok(built.status == 0, "the reference of Lab 3 builds", out=built.out):
            on_bochs()
        finish()
    if "svm" in sys.argv[1:]:
        for boot in [one for one in ENGINES if one[0] == "svm"] + MORE_ON_SVM:
            on_zeno(*boot)
        finish()
    for kernel in linux_guest.META:
        bare(kernel)
    for boot in ENGINES + (MORE_ON_SVM if os.environ.get("ZENO_ALL") else []):
        on_zeno(*boot)
    memtest()
    refusals()
    finish()


if __name__ == "__main__":
    main()
