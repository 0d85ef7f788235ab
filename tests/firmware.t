#!/usr/bin/env python3
"""A guest that begins with its machine's firmware, in real mode: what the host bridge's PAM registers show below 1 MiB, by a ROM
of ours that prints the same on the bare machine; images that are none; Debian's SeaBIOS, and from a disk Debian's GRUB,
which starts a kernel.

The bare machine is Bochs for PAM: on QEMU a segment that takes writes and shows ROM shows RAM (handouts/emulators.md).
"""

import re
import shutil
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from dom0 import says  # noqa: E402
from engine import BUILD, LIMIT, Engine  # noqa: E402
from harness import ROOT, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

SEABIOS = Path("/usr/share/seabios/bios.bin")
GRUB = Path("/usr/lib/grub/i386-pc")
START = "boot=firmware platform=pc-apic"
# 440FX 3.2.17, for the steps of tests/firmware/pam.asm: RAM, ROM, RAM protected, RAM, written behind ROM, protected, ROM.
SEGMENTS = 13 * ["1r14r5r"]
EARLY = "serial --unit=0 --speed=115200\nterminal_output serial\nterminal_input {}\n"
MODULES = ["serial", "terminal", "echo", "hello", "cpuid", "hexdump", "ls", "memdisk", "tar", "biosdisk", "multiboot", "reboot"]
COMMANDS = ["hello", "cpuid -l", "ls", "hexdump (hd0)0+1 -s 496 -n 16", "hexdump (hd0)2047+1 -n 16", "multiboot (memdisk)/hello.elf", "boot"]
CURSOR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def rom(here, name="pam"):
    """Twice 64 KiB, so that e0000-effff is ROM, too; here: for what a bare machine's hole may not show."""
    path = folder() / name
    done = run("nasm", "-f", "bin", f"-dHERE={here}", "-o", path, ROOT / f"tests/firmware/{name}.asm")
    ok(done.status == 0, "the ROM is assembled", out=done.out)
    path.write_bytes(2 * path.read_bytes())
    return path


def sectors(name, data, size):
    path = folder() / name
    path.write_bytes(data.ljust(size, b"\0"))
    return path


def pam(svm, disk):
    """On both MMU modes; nothing is lost by it, and a guest behind it runs."""
    bare = None
    if shutil.which("bochs"):
        result = machine.boot(machine="bochs", disk=disk, cpu="vmx", mem=16, limits=LIMIT, extra=[f"romimage: file={rom(0)}"])
        bare = result.text().split()
        result.cleanup()
        ok(bare[:13] == SEGMENTS and len(bare) == 20, "bare Bochs: PAM is the data sheet's", bare=bare)
    start = [f"start pam {START} mmu={mode} disk=sectors" for mode in ("nested", "flat")]
    text = svm.host([*start, "start hello", "frames", *start, "start hello", "frames"], [rom(1), disk, "hello"],
                    options="poison=1 audit=1", icount=True)  # who uses state without asking for it, and tables that are wrong
    lines = " ".join(says(text, 1)).split()
    each = [lines[n:n + 21] for n in (0, 21)]
    ok(all(one[:13] == SEGMENTS and one[13:15] == ["rRRrr", "U"] for one in each) and text.count("pam: ended: exit code 0") == 4,
       "svm, both MMU modes: PAM is the data sheet's, and code below which it changes goes on in what is there", text=text)
    free = re.findall(r"free +(\d+) frames", text)
    ok(len(free) == 2 and free[0] == free[1] and text.count("hello: ended: exit code 0") == 2, "nothing is lost by it", text=text)
    if not bare:
        skip("as on bare Bochs", "Bochs is not installed: make demo installs it")
        return
    ok(all(one[:14] + one[15:] == bare for one in each), "all is as on bare Bochs", bare=bare, text=text)
    text = Engine("5", "vmx").host([f"start pam {START} disk=sectors"], [rom(0), disk], "bochs")
    ok(" ".join(says(text, 1)).split() == bare and "pam: ended: exit code 0" in text, "and on vmx", bare=bare, text=text)


def refused(svm):
    """What is no firmware, and what has no place for it."""
    images = {"cut": SEABIOS.read_bytes()[:100000], "half": SEABIOS.read_bytes()[:0x10000], "none": b"", "big": bytes(0x110000)}
    text = svm.host([f"start {name} {START}" for name in images] + ["start bios boot=firmware", f"start tables {START}", "start hello"],
                    [*(sectors(name, data, len(data) or 1) for name, data in images.items()),
                     sectors("bios", SEABIOS.read_bytes(), 0), rom(0, "tables"), "hello"])
    ok(re.search(r"^d\d+ tables: stopped: its page tables lie at 000f8000, ", text, re.M), "page tables in ROM end a guest in words", text=text)
    no_rom = "not firmware that can be started: it is no ROM of 64 KiB, or as many times that, up to 1 MiB (truncated?)"
    ok(all(f"{name}: {no_rom}" in text for name in ("cut", "none", "big")) and
       "half: not firmware that can be started: no jump stands where the CPU starts" in text and
       "bios: not a guest that can be started: firmware is for platform=pc-apic" in text and "hello: ended: exit code 0" in text,
       "what is no firmware is refused in one line", text=text)


def no_system(svm):
    """SeaBIOS with a disk that nothing is on, one without, and two CPUs, which it waits for."""
    empty = sectors("empty", b"", 1 << 20)
    bios = sectors("seabios", SEABIOS.read_bytes(), 0)
    runs = ("disk=empty", "mmu=flat", "disk=empty vcpus=2")
    text = svm.host([word for one in runs for word in (f"start seabios {START} {one} &", "sleep 9000", "firmware d1", "stop d1")],
                    [bios, empty], icount=True)
    logs = text.split("K> start ")[1:]
    words = ["No bootable device."], ["No bootable device.", "Boot failed: not a bootable disk", "ata0-0: Zeno disk"]
    ok(len(logs) == 3 and all(word in log for log, n in zip(logs, (1, 0, 1)) for word in words[n]) and "ata0-0" not in logs[1]
       and "Found 1 cpu(s)" in logs[0] and "Found 2 cpu(s)" in logs[2], "SeaBIOS finds what there is, and nothing to boot", text=text)


def grub_disk(place, keys="serial"):
    """GRUB's boot sector, and its image behind it, with a kernel in its memory."""
    (place / "early.cfg").write_text(EARLY.format(keys))
    with tarfile.open(place / "disk.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(BUILD / "guest/hello.elf", "hello.elf")
    done = run("grub-mkimage", "-O", "i386-pc", "-c", place / "early.cfg", "-p", "(memdisk)/boot/grub", "-m", place / "disk.tar",
               "-o", place / "core.img", *MODULES)
    ok(done.status == 0, "grub-mkimage makes an image", out=done.out)
    return sectors("grub", (GRUB / "boot.img").read_bytes() + (place / "core.img").read_bytes(), 1 << 20)


def plain(text):
    return [line.rstrip() for line in CURSOR.sub("", text).replace("\r", "").split("\n")]


def grub(svm):
    disk = grub_disk(folder())
    with machine.start(disk=disk, cpu="svm", mem=32, interactive=True, limits=LIMIT, extra=["-vga", "none"]) as live:
        for command in COMMANDS:
            if live.wait_for(b"grub> "):
                live.send(command.encode() + b"\r")
        result = live.wait()
    bare = plain(result.text())
    result.cleanup()
    typed = "_".join(COMMANDS).replace(" ", "~") + "_"
    result = machine.boot(kernel=svm.kernel, cpu="svm", mem=128, limits=LIMIT, icount=True,
                          cmdline=f"panic=off -- start bios {START} disk=grub mem=32 -- input={typed}; off",
                          modules=[(sectors("bios", SEABIOS.read_bytes(), 0), ""), (disk, "")])
    got = plain(b"".join(bytes.fromhex(words.split()[1]) for _, words in result.tagged("out")).decode("latin1"))
    ok("Hello World" in got and "magic 2badb002, boot information found" in got and "bios: ended: exit code 0" in result.text(),
       "SeaBIOS starts GRUB from the disk, and GRUB a kernel", text=result.text())
    ok(got == bare, "as on bare QEMU", bare="\n".join(bare), got="\n".join(got))
    result.cleanup()


def keyboard(svm):
    """Debian's GRUB has its keys of SeaBIOS, and SeaBIOS of the keyboard: letters, capitals, signs."""
    disk = grub_disk(folder(), "console")
    signs = "aZ09?,.[]"
    typed = f"grub>~|echo~{signs}_reboot_"  # GRUB's reboot ends the guest: it turns A20 off
    result = machine.boot(kernel=svm.kernel, cpu="svm", mem=128, limits=LIMIT, icount=True,
                          cmdline=f"panic=off -- start bios {START} disk=grub mem=32 keys=keyboard -- input={typed}; off",
                          modules=[(sectors("bios", SEABIOS.read_bytes(), 0), ""), (disk, "")])
    text = plain(b"".join(bytes.fromhex(words.split()[1]) for _, words in result.tagged("out")).decode("latin1"))
    ok(signs in text and "bios: stopped: it turned address line 20 off" in result.text(),
       "what is typed at the keyboard comes to GRUB by SeaBIOS", text="\n".join(text), console=result.text())
    result.cleanup()


def main():
    built = run("make", "-s", "-C", ROOT, "LAB=5", "SOLUTION=1", "build")
    ok(built.status == 0, "the reference of Lab 5 builds", out=built.out)
    svm = Engine("5", "svm")
    pam(svm, sectors("sectors", b"", 4032 * 512))
    if SEABIOS.exists():
        refused(svm)
        no_system(svm)
    else:
        skip("SeaBIOS", f"{SEABIOS} is not here: make check installs it")
    if SEABIOS.exists() and (GRUB / "boot.img").exists() and shutil.which("grub-mkimage"):
        grub(svm)
        keyboard(svm)
    else:
        skip("GRUB from a disk", "its i386-pc modules are not here: make check installs them")
    finish()


if __name__ == "__main__":
    main()
