#!/usr/bin/env python3
"""Random port accesses on QEMU's own UART, 8259s, 8254 and keyboard, against those of vmm/dev/.

tests/devices/script.c makes a script, bare.asm plays it on the bare emulator, and model.c plays it on
our devices and compares. Both C files name each point where QEMU is not the datasheet.
ZENO_SEED=n tries another series of scripts.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "tests" / "devices"
QEMU = "qemu-system-x86_64"
STEPS = "1500"
SCRIPTS = 3
KINDS = ("pic", "uart", "pit", "keyboard")
TIMEOUT = 240
ANSWER = 24
MODEL_SOURCES = ["tests/devices/model.c", "tests/devices/script.c",
                 "vmm/dev/uart.c", "vmm/dev/pic.c", "vmm/dev/pit.c", "vmm/dev/i8042.c", "vmm/dev/keyboard.c"]


def bail_out(text):
    """Trouble of the test's own, which is no verdict on the devices."""
    print(f"Bail out! {text}", flush=True)
    sys.exit(255)


def run(argv, **options):
    """A command that must work; its output is shown where it does not."""
    done = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=TIMEOUT,
                          check=False, capture_output=True, **options)
    if done.returncode:
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        print("\n".join(f"# {line}" for line in text.splitlines()))
        bail_out(f"{' '.join(map(str, argv))}: status {done.returncode}")
    return done.stdout


def build():
    """The kernel that plays scripts, and the model."""
    OUT.mkdir(parents=True, exist_ok=True)
    run(["nasm", "-w+all", "-w+error", "-f", "elf32", "-o", OUT / "bare.o",
         "tests/devices/bare.asm"])
    linker = os.environ.get("CROSS", "") + "ld"
    run([linker, "-m", "elf_i386", "-Ttext", "0x100000", "-o", OUT / "bare.elf", OUT / "bare.o"])
    run([os.environ.get("HOST_CC", "gcc"), "-std=gnu11", "-O1", "-g", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror", "-I.", "-o", OUT / "model",
         *MODEL_SOURCES])


def qemu(script, answers):
    """Plays a script. Time is counted in instructions, so that nothing depends on this machine."""
    argv = [QEMU, "-M", "pc", "-accel", "tcg", "-cpu", "qemu64,-apic", "-m", "16", "-nodefaults",
            "-display", "none", "-no-reboot", "-no-hpet", "-icount", "shift=3,sleep=off",
            "-rtc", "base=2000-01-01,clock=vm", "-serial", "null", "-serial", "null",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-chardev", f"file,id=side,path={str(answers).replace(',', ',,')}",
            "-device", "isa-debugcon,iobase=0xe9,chardev=side",
            "-kernel", OUT / "bare.elf", "-initrd", str(script).replace(",", ",,")]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT,
                          check=False)
    if done.returncode != 1:  # isa-debug-exit: 2 * 0 + 1
        bail_out(f"{QEMU} ended with status {done.returncode}: "
                 f"{done.stderr.decode('utf-8', 'replace')}")


def compare(kind, script, answers):
    """Whether they agree, and what the comparison says."""
    done = subprocess.run([OUT / "model", "check", kind, script, answers], timeout=TIMEOUT,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    return done.returncode == 0, text.strip().splitlines()


def corrupt(path):
    """Every answer's value is made wrong."""
    data = bytearray(path.read_bytes())
    for at in range(16, len(data), ANSWER):
        data[at] ^= 0x01
    path.write_bytes(data)


def main():
    """TAP: a test for each script, and for each device that a wrong answer is seen."""
    missing = [name for name in (QEMU, "nasm", os.environ.get("HOST_CC", "gcc"))
               if not shutil.which(name)]
    if missing:
        print(f"1..0 # SKIP not here: {', '.join(missing)}")
        return 0
    build()
    first = int(os.environ.get("ZENO_SEED", "1"), 0)
    count = failed = 0
    print(f"1..{len(KINDS) * (SCRIPTS + 1)}", flush=True)

    def report(good, name, lines):
        nonlocal count, failed
        count += 1
        failed += not good
        print(f"{'ok' if good else 'not ok'} {count} - {name}")
        for line in lines:
            print(f"# {line}", flush=True)

    with tempfile.TemporaryDirectory(prefix="zeno-devices-") as temp:
        script, answers = Path(temp, "script"), Path(temp, "answers")
        for kind in KINDS:
            for seed in range(first, first + SCRIPTS):
                script.write_bytes(run([OUT / "model", "gen", kind, str(seed), STEPS]))
                qemu(script, answers)
                good, lines = compare(kind, script, answers)
                report(good, f"{kind}: seed {seed}, as QEMU's", lines)
            corrupt(answers)
            good, lines = compare(kind, script, answers)
            report(not good, f"{kind}: wrong answers are seen", lines[-1:])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
