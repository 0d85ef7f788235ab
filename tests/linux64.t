#!/usr/bin/env python3
"""Debian's 64-bit Linux, which nobody here wrote, on AMD-V: entered in long mode by its own protocol, to a shell.

tools/linux_guest.py fetches the kernel and makes a RAM disk around a static busybox. The session and what is typed into
the shell carry numbers that are drawn here, so no line of the output can be known before. A boot takes 11 to 15 s of
CPU; with one CPU on the machine with APICs it runs in make check-all only, as it does on Bochs, by VT-x and by AMD-V, with
somebody at the keyboard: `tests/linux64.t bochs` has these alone.
"""

import hashlib
import os
import random
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402
from terminal_line import Terminal  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
from zeno.judging import headers  # noqa: E402
from zeno.machines import machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

LIMIT = machine.Limits(instructions=60_000_000_000, cpu_seconds=600)
PATIENCE = 7200  # seconds: only a harness in trouble takes that long
LINUX = linux_guest.LINUX_64
MEMORY = 256  # the host's, MiB
PCI = {"mkdir /sys; mount -t sysfs sys /sys; (cd /sys/bus/pci/devices; grep . */device)":
       "0000:00:00.0/device:0x1237\n0000:00:01.0/device:0x7000\n0000:00:01.1/device:0x7010"}
# What its interpreter of ACPI's code says of the platform's: that it runs, and where interrupts go, with nothing to complain of.
ACPI = {"dmesg | grep -oE 'ACPI: Interpreter.*|ACPI: Using IOA.*|ACPI.*(Error|Exception|Warn).*|.*derive rout.*|.*_PRT.*'":
        "ACPI: Interpreter enabled\nACPI: Using IOAPIC for interrupt routing"}
# Its driver finds the keyboard's controller by ACPI, talks to the keyboard, and takes it for one whose keys the controller translates.
KEYBOARD = {"dmesg | grep -oE 'i8042: PNP: PS/2 C.*|serio: .*|input: AT.*board|atkbd.*'": "i8042: PNP: PS/2 Controller [PNP0303:KBD] at 0x60,0x64 irq 1\nserio: i8042 KBD port at 0x60,0x64 irq 1\ninput: AT Translated Set 2 keyboard"}
INTERRUPTS = "cat /proc/interrupts"  # what it prints is judged by itself


MODULE_SIZE, MODULE_PADDR, MODULE_BYTES = headers.numbers(("kern/kern.h",), (
    "sizeof(struct module)", "offsetof(struct module, paddr)", "offsetof(struct module, size)"))


class Disk:
    """An ext2 of a host's making with a drawn line in it, what the guest does to it, and what must be on it then."""

    def __init__(self, draw):
        self.given, self.made, self.count = f"{draw.getrandbits(64):016x}", f"{draw.getrandbits(64):016x}", draw.randrange(20_000, 30_000)
        self.file = folder() / "disk"
        content = folder()
        (content / "given").write_text(self.given + "\n")
        self.sectors = 2 * draw.randrange(4096, 6000)
        done = run(self.program("mke2fs"), "-q", "-t", "ext2", "-b", "1024", "-d", content, self.file, str(self.sectors // 2))
        if done.status:
            raise RuntimeError(done.out)
        self.file.write_bytes(self.file.read_bytes().ljust(512 * self.sectors, b"\0"))
        self.lines = {
            linux_guest.INSERT + "; until [ -e /sys/block/sda/size ]; do sleep 1; done; cat /sys/block/sda/size": str(self.sectors),
            "mkdir /mnt; mknod /dev/sda b 8 0; mount -t ext4 /dev/sda /mnt; cat /mnt/given": self.given,
            f"echo {self.made} > /mnt/made; seq {self.count} > /mnt/many; sync; umount /mnt; echo $?": "0",
        }

    @staticmethod
    def program(name):
        """Of e2fsprogs: not in every PATH."""
        return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")

    def judge(self, name, image):
        """The host's memory, after the run."""
        path = folder() / "after"
        path.write_bytes(image)
        read = [run(self.program("debugfs"), "-R", f"cat /{what}", path).out for what in ("made", "given", "many")]
        many = "".join(f"{n}\n" for n in range(1, self.count + 1))
        ok(f"{self.made}\n" in read[0] and f"{self.given}\n" in read[1] and many in read[2],
           f"{name}: the disk, read outside, holds what it has written", got=[text[-200:] for text in read])
        checked = run(self.program("e2fsck"), "-fn", path)
        ok(checked.status == 0, f"{name}: ... and is whole", got=checked.out)


class Session:
    """Lines that /init types, lines that are typed into the shell, and what each must print."""

    def __init__(self, seed, cpus=1, more=None):
        draw = random.Random(seed)
        self.nonce = f"{draw.getrandbits(64):016x}"
        first, count = draw.randrange(1, 10**6), draw.randrange(3000, 6000)
        data = "".join(f"{n}\n" for n in range(first, first + count)).encode()
        self.a, self.b = draw.randrange(1000, 10**4), draw.randrange(1000, 10**4)
        self.lines = {
            "uname -sm": "Linux x86_64",
            f"echo nonce {self.nonce}": f"nonce {self.nonce}",
            f"seq {first} {first + count - 1} > /tmp/f; md5sum < /tmp/f": hashlib.md5(data).hexdigest() + "  -",
            "gzip /tmp/f; gunzip -c /tmp/f.gz | wc -c": str(len(data)),
            f"echo $(({self.a} * {self.b} * {self.a}))": str(self.a * self.b * self.a),
            "i=0; while [ $i -lt 20 ]; do (exit $i) & wait $! || true; i=$((i + 1)); done; echo $i children": "20 children",
            "grep -c processor /proc/cpuinfo": str(cpus),
            "sh -c 'kill -SEGV $$'; echo died of $?": "Segmentation fault\ndied of 139",
            **(more or {}),
        }

    def text(self):
        return "".join(line + "\n" for line in (INTERRUPTS, *self.lines)).encode()

    def expected(self):
        return "".join(f"zeno# {line}\n{said}\n" for line, said in self.lines.items())

    def typed(self):
        """For input=: blanks are ~ there, and line ends _."""
        return f"_echo~$(({self.a}*{self.b}))~typed_exit_"

    def judge(self, name, output, console):
        """What came out of the guest's UART, and of the host's console."""
        text = re.sub(rf"^zeno# {INTERRUPTS}\n.*?(?=^zeno# )", "", output.replace("\r", ""), flags=re.M | re.S)
        text = re.sub(r"^\[ *\d+\.\d+\] .*\n?", "", text, flags=re.M)
        at = text.find("zeno# ")
        shell = text[at:].removeprefix(self.expected())
        ok(at >= 0 and text[at:].startswith(self.expected()), f"{name}: its session prints what the numbers say",
           got=text[-3000:], console=console[-3000:])
        ok(re.search(rf"BusyBox .*^{self.a * self.b} typed\nzeno# exit\n", shell, re.M | re.S),
           f"{name}: a shell did what was typed", got=shell[-3000:])


def build(lab):
    built = run("make", "-s", "-C", ROOT, f"LAB={lab}", "SOLUTION=1", "build")
    return ok(built.status == 0, f"the reference of Lab {lab} builds", out=built.out)


def on_zeno(options, words, session, disk=None):
    """A run of Zeno's with this as a guest: its console, its guest's output, and what is on the disk in the end."""
    place, build = folder(), ROOT / "build/lab5-solution"
    initrd = linux_guest.make_initrd(LINUX, session.text(), place / "initrd64")
    modules = [(LINUX.place / "linux64", f"{options} -- initrd=initrd64 {words} shell"), (initrd, "")]
    live = machine.start(kernel=build / "zeno.mb", elf=[build / "zeno.elf"], cpu="svm", limits=LIMIT, mem=MEMORY, idle=False,
                         modules=modules + ([(disk.file, "")] if disk else []), paused=bool(disk),
                         cmdline=f"panic=off -- start linux64{' disk=disk' if disk else ''} -- input={session.typed()}; "
                         "disk; exits; violations; off")
    image = at_the_end(live, Symbols([build / "zeno.elf"]), len(modules)) if disk else None
    result = live.wait()
    console = result.text()
    output = b"".join(bytes.fromhex(line.split()[1]) for _, line in result.tagged("out"))
    result.cleanup()
    return console, output.decode("utf-8", "replace"), image


def on_bochs(cpu, cpus, seed):
    """What a person types, and no more: `start linux64`, and lines at its shell. Those that the terminal would fold are left out."""
    session = Session(seed, cpus)
    line = Terminal(["make", "-s", "-C", ROOT, "bochs", "LAB=5", "SOLUTION=1", "LINUX=1", f"CPU={cpu}"], PATIENCE)
    steps = [("K> ", f"start linux64{' vcpus=2' if cpus > 1 else ''}"), ("\nzeno# ", session.typed().split("_")[1].replace("~", " ")), (f"\n{session.a * session.b} typed\n", "")]
    for typed, said in session.lines.items():
        steps += [("zeno# ", typed), (f"\n{said}\n", "")] if len(typed) < 70 else []
    for awaited, typed in [*steps, ("zeno# ", "exit"), ("d1 linux64: ended: guest powered off after ", ""), ("K> ", "off")]:
        if not ok(line.wait_for(awaited.encode()), f"Bochs, {cpu}, {cpus} CPUs: behind what was typed comes {awaited.strip()!r}", got=line.text[-3000:]):
            break
        line.send(f"{typed}\r".encode() if typed else b"")
    line.end()


def at_the_end(live, symbols, number):
    """A boot module's bytes when the host switches the machine off."""
    gdb = live.gdb()
    gdb.insert(symbols.address("machine_off"))
    gdb.cont()
    module = symbols.address("modules") + number * MODULE_SIZE
    paddr, size = (int.from_bytes(gdb.read(module + at, 8), "little") for at in (MODULE_PADDR, MODULE_BYTES))
    image = gdb.read(paddr, size, physical=True)
    gdb.remove(symbols.address("machine_off"))
    gdb.detach()
    return image


def classic(seed):
    """Without ACPI and APIC, on the classic PC: it can halt, and not switch itself off. With all its memory from the start."""
    session = Session(seed)
    console, output, _ = on_zeno("mem=128 mmu=flat boot=linux", linux_guest.CLASSIC_64, session)
    session.judge("the classic PC", output, console)
    ok("reboot: System halted" in output and "d1 linux64: stopped: dead halt" in console,
       "the classic PC: it halts in the end", console=console[-3000:])


def interrupts(output):
    """/proc/interrupts, as the guest printed it: [numbers, words] by name."""
    lines = re.findall(r"^ *(\w+): +((?:\d+ +)+)(.*)$", output.replace("\r", ""), re.M)
    return {name: ([int(n) for n in numbers.split()], words) for name, numbers, words in lines}


def with_acpi(seed, cpus):
    """With APICs and ACPI: interrupts come by the I/O APIC, and it switches itself off."""
    name = f"{cpus} CPU{'s' if cpus > 1 else ''} with ACPI"
    disk = Disk(random.Random(seed)) if Disk.program("mke2fs") else skip(f"{name}: a disk", "mke2fs is not here (e2fsprogs)")
    session = Session(seed, cpus, {**PCI, **ACPI, **KEYBOARD, **(disk.lines if disk else {})})
    where = f"mem=128 platform=pc-apic vcpus={cpus} boot=linux"
    console, output, image = on_zeno(where, linux_guest.CMDLINE_64, session, disk)
    if disk:
        disk.judge(name, image)
        ok(f"d1: disk disk, {disk.sectors} sectors, from machine address " in console, f"{name}: the monitor says where it is",
           console=console[-3000:])
    seen = interrupts(output)
    session.judge(name, output, console)
    ok("timer" in seen.get("0", ([], ""))[1] and "IO-APIC" in seen.get("0", ([], ""))[1] and seen["0"][0][0] > 0
       and "ttyS0" in seen.get("4", ([], ""))[1] and "acpi" in seen.get("9", ([], ""))[1]
       and "i8042" in seen.get("1", ([], ""))[1] and sum(seen["1"][0]) > 0,
       f"{name}: the I/O APIC has the 8254's, the keyboard's, the UART's and ACPI's interrupts", got=output[-3000:])
    ok(len(seen.get("LOC", ([], ""))[0]) == cpus and all(seen["LOC"][0]) and (cpus == 1 or sum(seen["RES"][0] + seen["CAL"][0]) > 0),
       f"{name}: each has had its own timer's interrupts, and CPUs have sent each other some", got=output[-3000:])
    counted(name, console)
    ok("reboot: Power down" in output and re.search(r"^d1 linux64: ended: guest powered off after \d+ exits$", console, re.M),
       f"{name}: it switches itself off, and one line says so", console=console[-3000:])


def counted(name, console):
    """Exits, for whoever reads the log; and that Linux' search of the ROMs for tables is none of them: 40,000 reads."""
    total, refused, touched = (re.search(pattern, console, re.M) for pattern in
                               (r"^d1 linux64: (\d+) exits$", r"^ *(\d+)  memory access that the MMU refused$",
                                r"^d1: (\d+) frames touched of \d+, \d+ violations$"))
    print(f"# {name}: {total and total[0]}, the first CPU's: {refused and refused[0].strip()}; {touched and touched[0]}")
    ok(refused and touched and int(refused[1]) < int(touched[1]) + 20_000, f"{name}: memory without devices costs no exits",
       console=console[-3000:])


def refusals():
    """What can't be started, each with its line."""
    place = folder()
    image = (LINUX.place / "linux64").read_bytes()
    at = 512 * (image[0x1f1] + 1)
    (place / "cut").write_bytes(image[:-400_000])
    (place / "short").write_bytes(image[:0x1f4] + b"\x20\0\0\0" + image[0x1f8:at + 512])
    (place / "linux64").write_bytes(image)
    lines = [
        ("start cut", "its protected-mode part goes beyond the file's end"),
        ("start short", "its protected-mode part ends before its 64-bit entry"),
        ("start linux64 mem=32", "it needs more memory to unpack itself"),
        ("start linux64 mem=64 -- initrd=none", "no module is called as its initrd= says"),
    ]
    for lab, cpu, all_lines in (("5", "svm", lines), ("3", "te", [("start linux64", "this engine has no long mode")])):
        result = machine.boot(kernel=ROOT / f"build/lab{lab}-solution/zeno.mb", cpu=cpu, limits=LIMIT, mem=MEMORY,
                              modules=[(place / name, "mem=128 boot=linux -- x") for name in ("cut", "short", "linux64")],
                              cmdline=f"panic=off -- {'; '.join(line for line, _ in all_lines)}; off")
        console = result.text()
        result.cleanup()
        for line, why in all_lines:
            ok(why in console, f"{line}: refused", console=console)


def dsdt():
    """The platform's code for ACPI, which was compiled by hand, as Intel's disassembler reads it."""
    if not shutil.which("iasl"):
        skip("the DSDT", "iasl is not here (acpica-tools)")
        return
    place = folder()
    run("make", "-s", "-C", ROOT, "build/tests/unit/acpi")
    run(ROOT / "build/tests/unit/acpi", place / "dsdt.aml")
    read = run("iasl", "-d", place / "dsdt.aml")
    code = (place / "dsdt.dsl").read_text() if (place / "dsdt.dsl").is_file() else read.out
    code = re.sub(r"//.*|/\*.*?\*/|\s", "", re.sub(r"/\*.*?\*/", "", code, flags=re.S))
    ports = ("WordIO(ResourceProducer,MinFixed,MaxFixed,PosDecode,EntireRange,0x0000,{},{},0x0000,{},,,,"
             "TypeStatic,DenseTranslation)").format
    routes = ",".join(f"Package(0x04){{0x000{device}FFFF,0x0{pin},Zero,0x{16 + (device - 1 + pin) % 4:02X}}}"
                      for device in (1, 2, 3) for pin in range(4))  # as on QEMU's boards, on I/O APIC pins of their own
    routes = f"Name(_PRT,Package(0x0C){{{routes}}})"
    ok(code == r'DefinitionBlock("","DSDT",2,"ZENO","PC-APIC",0x00000001){Name(\_S5,Package(0x04){0x05,0x05,Zero,Zero})'
       r'Device(_SB.PCI0){Name(_HID,EisaId("PNP0A03"))Name(_CRS,ResourceTemplate()'
       "{WordBusNumber(ResourceProducer,MinFixed,MaxFixed,PosDecode,0x0000,0x0000,0x0000,0x0000,0x0001,,,)"
       "IO(Decode16,0x0CF8,0x0CF8,0x01,0x08,)" + ports("0x0000", "0x0CF7", "0x0CF8") + ports("0x0D00", "0xFFFF", "0xF300")
       + "})" + routes + '}Device(_SB.KBD){Name(_HID,EisaId("PNP0303"))Name(_CRS,ResourceTemplate(){IO(Decode16,0x0060,0x0060,0x01,0x01,)'
       "IO(Decode16,0x0064,0x0064,0x01,0x01,)IRQNoFlags(){1}})}}", "the DSDT says \\_S5, which buses and ports the PCI bridge has, where its interrupt lines go, and where the keyboard's controller is", got=code)


def on_each_cpu(seed):
    """Of Bochs: with VT-x, with one CPU and two, and with AMD-V."""
    if machine.missing("bochs"):
        skip("Linux on Bochs", machine.missing("bochs"))
    elif build("5"):
        for cpu, cpus in (("vmx", 1), ("vmx", 2), ("svm", 1)):
            on_bochs(cpu, cpus, seed)


def main():
    dsdt()
    try:
        linux_guest.bring(LINUX)
    except linux_guest.NoGuest as why:
        skip("Debian's 64-bit Linux", f"it could not be fetched: {why}")
        finish()
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"# SEED={seed}")
    if "bochs" in sys.argv[1:]:
        on_each_cpu(seed)
    elif build("3") and build("5"):
        refusals()
        classic(seed)
        with_acpi(seed, 2)
        if os.environ.get("ZENO_ALL"):
            with_acpi(seed, 1)
            on_each_cpu(seed)
    finish()


if __name__ == "__main__":
    main()
