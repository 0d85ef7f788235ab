#!/usr/bin/env python3
"""Debian's GRUB, which nobody here wrote, runs on te, bt, svm and vmx: to its prompt, with commands typed to it and modules
that it loads into its memory and runs.

The image is made here by Debian's own grub-mkimage for a flat 32-bit machine (coreboot's). It runs bare,
started by tests/grub/shim.asm, and on the engines; the outputs, cursor movements removed, must be the same. Bare is
QEMU, for vmx on Bochs, too. On svm its instructions are counted, with ZENO_ALL=1 on vmx, too: as many as on the bare machine
run themselves.
"""

import io
import os
import re
import shutil
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import boot_from  # noqa: E402
from entries import between_entries  # noqa: E402
from harness import ROOT, finish, folder, ok, run, skip  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import counts, machine  # noqa: E402

PLATFORM = Path("/usr/lib/grub/i386-coreboot")
# The lab whose reference has it, the machine, and its CPU.
ENGINES = [("te", 1, "qemu", "te"), ("bt", 3, "qemu", "te"), ("svm", "4s", "qemu", "svm"), ("vmx", 4, "bochs", "vmx")]
EARLY = """serial --unit=0 --speed=115200
terminal_output serial
terminal_input serial
"""
MODULES = ["serial", "terminal", "echo", "hello", "cpuid", "hexdump", "ls", "help", "memdisk", "tar"]
LOADED = ["cat", "tr", "extcmd"]  # from its memory disk, when somebody asks for them
GREETING = b"from the memory disk\n"
COMMANDS = ["hello", "echo zeno", "cpuid -l", "hexdump (mem) -s 0x500 -n 72", "help echo", "insmod cat",
            "cat (memdisk)/greeting", "insmod tr", "tr abc xyz aabbcc", "ls", "echo over"]
OVER = b"d1| over"  # GRUB moves the cursor between the letters that it echoes, so only what `echo` prints is this
LIMIT = machine.Limits(instructions=8_000_000_000, cpu_seconds=120)
CURSOR = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def make_disk(path):
    """A tar archive that GRUB sees as a disk: modules where it looks for them, and a text."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in [f"{one}.mod" for one in LOADED] + ["moddep.lst"]:
            tar.add(PLATFORM / name, f"boot/grub/i386-coreboot/{name}")
        text = tarfile.TarInfo("greeting")
        text.size = len(GREETING)
        tar.addfile(text, io.BytesIO(GREETING))


def make_image(place, name="grub", commands=()):
    """Debian's GRUB as an ELF image, which begins with these commands; None if grub-mkimage can't."""
    (place / f"{name}.cfg").write_text(EARLY + "".join(f"{command}\n" for command in commands))
    make_disk(place / "disk.tar")
    done = run("grub-mkimage", "-O", "i386-coreboot", "-c", place / f"{name}.cfg", "-p", "(memdisk)/boot/grub",
               "-m", place / "disk.tar", "-o", place / f"{name}.elf", *MODULES, *(("iorw",) if commands else ()))
    ok(done.status == 0, "grub-mkimage makes an image", out=done.out)
    return place / f"{name}.elf" if done.status == 0 else None


def make_shim(place):
    done = run("nasm", "-f", "elf32", ROOT / "tests/grub/shim.asm", "-o", place / "shim.o")
    if done.status == 0:
        done = run("ld", "-m", "elf_i386", "-z", "noexecstack", "-T", ROOT / "tests/grub/shim.ld",
                   "-o", place / "shim.elf", place / "shim.o")
    ok(done.status == 0, "the shim builds", out=done.out)
    return place / "shim.elf"


def plain(output):
    """The lines without cursor movements and trailing spaces."""
    text = CURSOR.sub(b"", output).decode("ascii", "replace").replace("\r", "")
    return [line.rstrip() for line in text.split("\n")]


def bare(shim, image, cpu):
    """Types each command when the prompt is there."""
    with machine.start(kernel=shim, modules=[(image, "")], cpu=cpu, interactive=True,
                       limits=LIMIT) as live:
        for command in COMMANDS:
            if not live.wait_for(b"grub> "):
                break
            live.send(command.encode() + b"\r")
        live.wait_for(b"grub> ")
        live.stop()
        result = live.wait()
    output = result.console
    result.cleanup()
    return plain(output)


def on_engine(image, engine, lab, where, cpu):
    """The same from the command line: `_` is the Enter key, `~` a space."""
    typed = "_".join(COMMANDS).replace(" ", "~") + "_"
    setup = boot_from(where, ROOT / f"build/lab{lab}-solution/zeno.mb",
                      f"panic=off -- start grub engine={engine} mem=32 -- boot=coreboot input={typed}", [image])
    result = machine.boot(**setup, cpu=cpu, limits=LIMIT, mem=128, until=OVER, idle=False)
    raw = b"".join(bytes.fromhex(words.split()[1]) for _, words in result.tagged("out"))
    console, end = result.text(), result.end
    result.cleanup()
    return plain(raw), console, end


def compare(engine, lab, where, cpu, image, expected):
    built = run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build")
    if not ok(built.status == 0, f"the reference of Lab {lab} builds", out=built.out):
        return
    got, console, end = on_engine(image, engine, lab, where, cpu)
    ok(any(line.startswith("grub> ") for line in got), f"GRUB on {engine} comes to its prompt",
       console=console[-2000:])
    ok(end is machine.End.UNTIL, "and to the end of what is typed to it", end=end, console=console[-2000:])
    ok("Hello World" in got and "zeno" in got, "and runs commands that are typed to it",
       got="\n".join(got))
    ok(GREETING.decode().strip() in got and "xxyyzz" in got, "and modules that it loads",
       got="\n".join(got))
    length = min(len(expected), len(got))
    ok(length > 20 and expected[:length - 1] == got[:length - 1],
       "its output is the bare machine's", expected="\n".join(expected), got="\n".join(got))


def native(place, shim):
    """The commands' own instructions: what GRUB with them does more than without, on svm where they lie, and bare.

    At its start it waits for the clock, in as many rounds as come before a tick: the difference has none of that.
    """
    more, images = [], []
    for name, commands in (("short", []), ("whole", COMMANDS)):
        image = make_image(place, name, [*commands, "outb 0xf4 0"])
        images.append(image)
        alike = {"cpu": "svm", "icount": True, "exact": True, "limits": LIMIT}
        bare_run = machine.boot(kernel=shim, modules=[(image, "")], **alike)
        run_on_svm = machine.boot(kernel=ROOT / "build/lab4s-solution/zeno.mb", modules=[(image, "")], mem=128, **alike,
                                  cmdline=f"panic=off -- start {name} engine=svm mem=32 -- boot=coreboot; off")
        more.append((bare_run.counts.total, run_on_svm.counts.low))
        ok(f"{name}: ended: exit code 0" in run_on_svm.text() and (b"xxyyzz" in bare_run.console) == bool(commands),
           f"GRUB on svm, with {len(commands)} commands, ends by itself", console=run_on_svm.text()[-2000:])
        bare_run.cleanup()
        run_on_svm.cleanup()
    bare_did, *done = (whole - short for short, whole in zip(*more))
    if os.environ.get("ZENO_ALL") and not machine.missing("bochs"):
        starts = [f"start {image.stem} mem=32 -- boot=coreboot" for image in images]
        short, whole = between_entries(starts, images, LIMIT)
        done.append(whole - short)
    for engine, did in zip(("svm", "vmx"), done):
        ok(bare_did > 1_000_000 and 0.99 <= did / bare_did <= 1.01,
           f"GRUB on {engine}: {100 * did / bare_did:.2f} % of its instructions ran themselves", bare=bare_did, did=did)


def main():
    if not shutil.which("grub-mkimage") or not PLATFORM.is_dir():
        skip("Debian's GRUB", "grub-mkimage or its i386-coreboot modules are not installed")
        finish()
    place = folder()
    image, shim = make_image(place), make_shim(place)
    if image:
        expected = {cpu: bare(shim, image, cpu) for cpu in dict.fromkeys(one[3] for one in ENGINES if one[2] == "qemu")}
        for engine, lab, where, cpu in ENGINES:
            reason = machine.missing(where)
            if reason:
                skip(f"GRUB on {engine}", reason)
            else:
                compare(engine, lab, where, cpu, image, expected.get(cpu, expected["te"]))
        if counts.plugin() and not machine.missing("qemu"):
            native(place, shim)
        else:
            skip("counting GRUB's instructions", "the TCG plugin can't be built here, or QEMU is not")
    finish()


if __name__ == "__main__":
    main()
