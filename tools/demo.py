#!/usr/bin/env python3
"""`make demo`: what Zeno does, in under two minutes. Builds nothing; the Makefile has built it.

Shows, on QEMU and where it is there on Bochs, with the reference solutions: the monitor; one guest on
the bare machine beside the same guest under each engine; where its instructions went; a 64-bit guest
on AMD-V and VT-x; Debian's 64-bit Linux with two CPUs, if it can be fetched; dom0, and PvGrub and Linux in domains that it
makes, with a line that Linux writes on its disk and dom0 reads there; a guest whose devices are a process in ring 3;
Zeno in Zeno; a hostile guest that is stopped, and the guest that runs after it. Fails (status 1) if one of these is not so.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import trouble

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "grade"))

from zeno.machines import machine  # noqa: E402

import bench_table  # noqa: E402
import linux_guest  # noqa: E402
import mkfiles  # noqa: E402
import xen_guest  # noqa: E402

BUILD = ROOT / "build"
HOST = BUILD / "lab3-solution"
HARDWARE = {"svm": ("AMD-V", "4s", "qemu"), "vmx": ("VT-x", "4", "bochs")}
"""Engines that are the CPU's own: what it is called, their lab, and the machine that has it."""
ENGINES = ["te", "bt"]
EIGHTEEN = 18  # the first rows of guest/audit; more follow, for comparison
SHELL_SCRIPT = "script=cat_/etc/poem_|_grep_the_|_sort+cowtest+primes_2000+stress+flags"
LINUX_SESSION = {"uname -sm": "Linux x86_64", "grep -c processor /proc/cpuinfo": "2", "seq 100 | sort -r | head -n 1": "99"}
"""Lines for Debian's Linux, and what each prints."""
PV_LINUX = "console=hvc0 mitigations=off nokaslr panic=-1 loglevel=4"
DOM0_TYPES = ("dom0#~|create~grub.cfg_|dom0#~|console~grub_|grub>~|echo~this~is~ring~3_|grub>~|\x14|dom0#~|destroy~grub_|dom0#~||"
              "dom0#~|truncate~64K~disk_|dom0#~|create~linux.cfg_|dom0#~||dom0#~|list_|dom0#~|cat~disk_|dom0#~|halt_")
WRITES = "echo $(uname -sr) has written this on its disk: $((65 * 4)) > /dev/xvda"
WRITTEN = re.compile(r"^Linux [\d.]+\S* has written this on its disk: 260$", re.M)
"""What Linux' shell says, by xen-blkfront and our back end, to a file of dom0's, and how dom0 reads it there."""
ATTACKS = ["call-gate", "window-write", "spin"]

SEABIOS = Path("/usr/share/seabios/bios.bin")

failures = []


def check(good, what):
    print(f"  {'yes' if good else 'NO '}  {what}")
    if not good:
        failures.append(what)


def title(text):
    print(f"\n== {text}")


def guest(name):
    return str(BUILD / "guest" / f"{name}.elf")


def host(commands, *guests, where="qemu", build=HOST, cpu="te"):
    """One boot of the host, its monitor driven by `commands`."""
    cmdline = f"panic=off trace=0 -- {commands}; off"
    run = booted(where, build / "zeno.mb", cmdline, guests, cpu)
    text = run.console.decode("ascii", "replace").replace("\r", "")
    run.cleanup()
    if run.end is not machine.End.SHUTDOWN:
        failures.append(f"the host did not shut down in an orderly way: {run.detail}")
    return text, run


def booted(where, kernel, cmdline, guests, cpu):
    """One boot of a kernel: from modules on QEMU, from a disk on Bochs."""
    if where == "qemu":
        return machine.boot(machine="qemu", kernel=str(kernel), cmdline=cmdline, cpu=cpu,
                            modules=[(guest(g), "") for g in guests])
    with tempfile.TemporaryDirectory() as folder:
        return machine.boot(machine="bochs", disk=disk_of(folder, kernel, cmdline, guests), cpu=cpu)


def disk_of(folder, kernel, cmdline, guests):
    """A disk that boots this kernel, with guests as modules."""
    disk = str(Path(folder) / "zeno.img")
    modules = [word for g in guests for word in ("--module", guest(g), g)]
    subprocess.run([sys.executable, str(ROOT / "tools/mkimage.py"), "-o", disk,
                    "--mbr", str(BUILD / "boot/mbr.bin"), "--loader", str(BUILD / "boot/loader.bin"),
                    "--kernel", str(kernel), "--cmdline", cmdline, *modules],
                   check=True, stdout=subprocess.DEVNULL)
    return disk


def guest_lines(text, name=r"\S+"):
    """What guest d1 of this name said: the lines that the host marks as its own, and all behind the one that gives it the
    keyboard, as a guest that listens has it, up to its end."""
    said, typing = [], False
    for line in text.splitlines():
        if re.match(rf"d1 {name}: (ended|stopped): ", line):
            typing = False
        elif typing:
            said.append(line)
        elif line.startswith("d1| "):
            said.append(line[4:])
        typing = typing or line.startswith("d1: its COM1 has what you type")
    return said


def show(lines):
    for line in lines:
        print(f"  | {line}")


def monitor():
    title("The host boots to its monitor")
    text, _ = host("uptime; mem; frames", "hello")
    show(text.splitlines())


def equivalence(engine):
    title(f"One guest, bare and under {engine}: the output must be the same")
    bare = machine.boot(machine="qemu", kernel=guest("tables"), cpu="te")
    expected = bare.console.decode("ascii", "replace").replace("\r", "").splitlines()
    bare.cleanup()
    text, _ = host(f"start tables engine={engine}; exits", "tables")
    got = guest_lines(text)
    width = max(map(len, expected), default=0)
    print(f"    {'bare QEMU':{width}}   under {engine}")
    for i in range(max(len(expected), len(got))):
        left = expected[i] if i < len(expected) else ""
        right = got[i] if i < len(got) else ""
        print(f"  {' ' if left == right else '!'} {left:{width}}   {right}")
    check(expected and expected == got, f"{len(expected)} lines, the same on both")


def efficiency(engine):
    title(f"Where the instructions of a computing guest go under {engine}")
    text, run = host(f"start sieve engine={engine}; exits", "sieve")
    show(line for line in text.splitlines() if not line.startswith("K>"))
    found = re.search(r"ended: exit code 0 after (\d+) exits", text)
    exits = int(found[1]) if found else 0
    native = run.counts.low if run.counts else 0
    if not exits or not native:
        check(False, "the guest ran to its end")
        return
    print(f"  {native:,} guest instructions ran natively, {exits} were emulated: one exit in "
          f"{native // exits:,} instructions")
    check(native / (native + exits) > .99, f"{native / (native + exits):.3%} ran natively")


def grub():
    title("Debian's GRUB, which nobody here wrote, in ring 1 under te")
    modules = Path("/usr/lib/grub/i386-coreboot")
    if not shutil.which("grub-mkimage") or not modules.is_dir():
        print("  not shown: grub-mkimage or grub-coreboot-bin is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        early, image = Path(folder) / "early.cfg", Path(folder) / "grub.elf"
        early.write_text("serial --unit=0 --speed=115200\nterminal_output serial\n"
                         "terminal_input serial\n")
        subprocess.run(["grub-mkimage", "-O", "i386-coreboot", "-c", early, "-p", "/boot/grub",
                        "-o", image, "serial", "terminal", "echo", "hello", "help"], check=True)
        run = machine.boot(kernel=str(HOST / "zeno.mb"), modules=[(str(image), "")], cpu="te",
                           until=b"grub> echo this is ring 1", idle=False,
                           cmdline="panic=off -- start grub mem=32 -- boot=coreboot "
                                   "input=hello_echo~this~is~ring~1_")
        # The bytes as GRUB sent them: the console shows them in lines of its own.
        raw = b"".join(bytes.fromhex(words.split()[1]) for _, words in run.tagged("out"))
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw.decode("ascii", "replace").replace("\r", ""))
        run.cleanup()
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    show(lines)
    check(any("Hello World" in line for line in lines), "it came to its prompt and ran a command")


def audit():
    """The eighteen: how each looks in the guest's ring 0, bare and on the engines."""
    title("The eighteen instructions that are sensitive but do not trap, run in ring 0")
    bare = machine.boot(kernel=guest("audit"), cpu="te")
    expected = audit_rows(bare.console.decode("ascii", "replace").replace("\r", "").splitlines())
    bare.cleanup()
    seen = {engine: audit_rows(guest_lines(host(f"start audit engine={engine}", "audit")[0])) for engine in ENGINES}
    for engine, (_, lab, where) in HARDWARE.items():
        if where == "qemu" or shutil.which(where):
            text, _ = host("start audit", "audit", where=where, build=BUILD / f"lab{lab}-solution", cpu=engine)
            seen[engine] = audit_rows(guest_lines(text))
    width = max(map(len, expected.values()), default=0) + 2
    print(f"    {'':8}{'bare QEMU':{width}}" + "".join(f"{engine:10}" for engine in seen).rstrip())
    for name, what in list(expected.items())[:EIGHTEEN]:
        verdicts = ["the same" if seen[engine].get(name) == what else "DIFFERS" for engine in seen]
        print(f"    {name:8}{what:{width}}" + "".join(f"{verdict:10}" for verdict in verdicts).rstrip())
    holes = {engine: [n for n in list(expected)[:EIGHTEEN] if seen[engine].get(n) != expected[n]] for engine in seen}
    check(len(expected) >= EIGHTEEN and holes["te"] and not any(holes[engine] for engine in seen if engine != "te"),
          f"te shows {len(holes['te'])} holes (Lab 1B), bt has closed them all (Lab 3), and the CPU's own modes have none (Lab 4)")


def audit_rows(lines):
    found = (re.match(r"(\w+)\.kernel: (.*)", line) for line in lines)
    return {row[1]: re.sub(r"\b0{1,7}(?=[0-9a-f])", "", row[2].strip()) for row in found if row}


def shell():
    """The small OS: processes, pipes, files, demand paging, copy-on-write; by its own shell, on bt."""
    title("A small OS with paging and processes, bare and under bt: the output must be the same")
    bare = machine.boot(kernel=guest("os"), cmdline=f"os {SHELL_SCRIPT}", cpu="te", mem=64)
    expected = bare.console.decode("ascii", "replace").replace("\r", "").splitlines()
    bare.cleanup()
    text, _ = host(f"start os engine=bt mem=32 -- {SHELL_SCRIPT}; exits", "os")
    got = guest_lines(text)
    show(got)
    check(expected and expected == got, f"{len(expected)} lines, the same on both")


def bench():
    title("What it costs, in instructions: the bare machine, te, bt and svm (make bench has all of it)")
    engines = bench_table.SOFTWARE.engines + bench_table.AMD_V.engines[:1]
    columns = bench_table.columns_of(bench_table.Table("", "qemu", "bare", engines, []))
    rows = [row for row in columns["bare"] if all(row in column for column in columns.values())]
    bench_table.table(columns, rows)
    check(len(rows) >= 8, "the nanobenchmarks ran to their end on each")


def hardware(engine):
    """The guest that te and bt can't have: 64-bit code, run by the CPU itself."""
    name, lab, where = HARDWARE[engine]
    title(f"A guest in 64-bit code, bare and under {engine} ({name}): the output must be the same")
    if where == "bochs" and not shutil.which("bochs"):
        print("  not shown: Bochs is not installed")
        return
    bare = booted(where, guest("long"), "", (), engine)
    expected = bare.console.decode("ascii", "replace").replace("\r", "").splitlines()
    bare.cleanup()
    text, _ = host("start long", "long", where=where, build=BUILD / f"lab{lab}-solution", cpu=engine)
    show(guest_lines(text))
    check(expected and expected == guest_lines(text), f"{len(expected)} lines, the same on both")


def linux():
    """Debian's own kernel, by its 64-bit entry: two CPUs, APICs, ACPI."""
    title("Debian's 64-bit Linux, which nobody here wrote, with two CPUs under svm (K> start linux64)")
    try:
        linux_guest.bring(linux_guest.LINUX_64)
    except (linux_guest.NoGuest, OSError, subprocess.SubprocessError) as why:
        print(f"  not shown: it could not be fetched: {why}")
        return
    with tempfile.TemporaryDirectory() as folder:
        session = "".join(line + "\n" for line in LINUX_SESSION).encode()
        initrd = linux_guest.make_initrd(linux_guest.LINUX_64, session, Path(folder) / "initrd64")
        words = f"mem=128 platform=pc-apic vcpus=2 boot=linux -- initrd=initrd64 {linux_guest.CMDLINE_64}"
        run = machine.boot(kernel=str(BUILD / "lab5-solution/zeno.mb"), cpu="svm", mem=256, idle=False,
                           modules=[(str(linux_guest.LINUX_64.place / "linux64"), words), (str(initrd), "")],
                           cmdline="panic=off trace=0 -- start linux64; off")
    lines = guest_lines(run.console.decode("ascii", "replace").replace("\r", ""), "linux64")
    off = re.search(r"d1 linux64: ended: guest powered off after \d+ exits", run.text())
    run.cleanup()
    said = lines[next((n for n, line in enumerate(lines) if line.startswith("zeno# ")), len(lines)):]
    show(said + ([off[0]] if off else []))
    expected = [line for command, answer in LINUX_SESSION.items() for line in (f"zeno# {command}", answer)]
    check(said[:len(expected)] == expected and off, "it did what was typed, and switched itself off by ACPI")


def dom0():
    """A small Xen: one domain of ours makes the others, and has the other ends of their consoles and stores."""
    title("dom0, a PV domain, makes two: of Debian's PvGrub and of Debian's Linux, which has a disk (K> start dom0)")
    try:
        linux_guest.bring(xen_guest.PVGRUB)
        kernel = xen_guest.linux_pv()
    except (linux_guest.NoGuest, OSError, subprocess.SubprocessError) as why:
        print(f"  not shown: it could not be fetched: {why}")
        return
    session = {line: answer for line, answer in LINUX_SESSION.items() if "processor" not in line}
    with tempfile.TemporaryDirectory() as folder:
        lines = "".join(line + "\n" for line in (*session, linux_guest.INSERT, "mount -t devtmpfs d /dev", WRITES, "sync")).encode()
        initrd = linux_guest.make_initrd(linux_guest.LINUX_64, lines, Path(folder) / "initrd64", "xen")
        config = f'name="linux"; kernel="linux-pv"; ramdisk="initrd64"; memory=128; disk=["file:disk,xvda,w"]; extra="{PV_LINUX}"\n'
        files = Path(folder) / "files.cpio"
        files.write_bytes(mkfiles.archive({
            "grub.cfg": (ROOT / "guest/dom0/files/grub.cfg").read_bytes(), "pvgrub": (xen_guest.PVGRUB.place / "pvgrub").read_bytes(),
            "linux.cfg": config.encode(), "linux-pv": kernel.read_bytes(), "initrd64": initrd.read_bytes()}))
        run = machine.boot(kernel=str(BUILD / "lab8-solution/zeno.mb"), cpu="pv", mem=512, idle=False,
                           limits=machine.Limits(instructions=60_000_000_000, cpu_seconds=120),
                           modules=[(guest("dom0"), ""), (str(files), "")],
                           cmdline=f"panic=off trace=0 -- start dom0 mem=96 module=files -- input={DOM0_TYPES}; off")
        raw = b"".join(bytes.fromhex(words.split()[1]) for _, words in run.tagged("out")).decode("ascii", "replace")
        run.cleanup()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|^linux\| ", "", raw.replace("\r", ""), flags=re.M)
    show(line.rstrip() for line in text.splitlines() if re.match(r"dom0# |zeno|this is|\w+ has ended|\w+ +\d+ +\d+ |Linux|\d+$|\.\.\. ", line))
    check("\nthis is ring 3\n" in text and "grub has ended: by dom0" in text, "PvGrub came to its prompt, and did what was typed")
    check(all(f"zeno# {line}\n{answer}\n" in text for line, answer in session.items()) and "linux has ended: guest powered off" in text,
          "Linux did what was typed, and switched its domain off")
    read = WRITTEN.search(text.partition("dom0# cat disk\n")[2])
    check(read, "dom0 reads what Linux has written by its split driver")


def user_devices():
    """The KVM split: what a port is, a program says."""
    title("A guest on svm whose devices are a process in ring 3 of the host (devices=user)")
    bare = machine.boot(kernel=guest("hello"), cpu="svm")
    expected = bare.console.decode("ascii", "replace").replace("\r", "").splitlines()
    bare.cleanup()
    text = started("start hello devices=user; shell list", [guest("hello"), str(BUILD / "user/dm.elf"), str(BUILD / "user/shell.elf")])
    listed = [line for line in text.splitlines() if line.startswith("d1   hello ")]
    show(guest_lines(text))
    print("  Another process there, the control shell, lists it:")
    show(listed)
    check(listed, "the shell has seen it")
    check(expected and expected == guest_lines(text), f"{len(expected)} lines, the same as on the bare machine")


def started(commands, modules):
    """One boot of Lab 5's host on AMD-V, with these files."""
    run = machine.boot(kernel=str(BUILD / "lab5-solution/zeno.mb"), cpu="svm", modules=[(m, "") for m in modules],
                       cmdline=f"panic=off trace=0 -- {commands}; off")
    text = run.console.decode("ascii", "replace").replace("\r", "")
    run.cleanup()
    return text


def nest():
    """A hypervisor as a guest, from its boot sector on."""
    title("Zeno in Zeno: its disk boots on svm by Debian's SeaBIOS, and runs guests on te and bt in there (make nest)")
    if not SEABIOS.exists():
        print(f"  not shown: {SEABIOS} is not there")
        return
    with tempfile.TemporaryDirectory() as folder:
        inner = "; ".join(f"start {name} engine={engine}" for name, engine in (("hello", "te"), ("tables", "bt")))
        disk = disk_of(folder, HOST / "zeno.mb", f"panic=off -- {inner}; off", ("hello", "tables"))
        text = started(f"start {SEABIOS.stem} boot=firmware platform=pc-apic mem=32 disk=zeno", [str(SEABIOS), disk])
    lines = guest_lines(text, SEABIOS.stem)
    show(lines)
    check(all(any(re.search(f"{name}: ended: exit code 0", line) for line in lines) for name in ("hello", "tables"))
          and re.search(rf"d1 {SEABIOS.stem}: ended: exit code 0", text), "both inner guests ended in order, and the inner host")


def hostile(where):
    title(f"Hostile guests on {where}: each is stopped or has no effect, and the next guest runs")
    for attack in ATTACKS:
        text, _ = host(f"start hostile -- attack={attack}; start hello", "hostile", "hello",
                       where=where)
        show(line for line in text.splitlines() if re.match(r"d1 hostile: (stopped|ended)", line))
        through = "went through" in text or "panic" in text
        alive = re.search(r"d1 hello: ended: exit code 0", text)
        check(not through and alive, f"{attack}: contained; the host ran another guest after it")


def main():
    monitor()
    for engine in ENGINES:
        equivalence(engine)
        efficiency(engine)
    audit()
    shell()
    bench()
    grub()
    for engine in HARDWARE:
        hardware(engine)
    linux()
    dom0()
    user_devices()
    nest()
    hostile("qemu")
    if shutil.which("bochs"):
        hostile("bochs")
    print()
    for failure in failures:
        print(f"demo: failed: {failure}", file=sys.stderr)
    if not failures:
        print("All of it worked. Next: `make help`, and handouts/guide.md.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(trouble.plain(main))
