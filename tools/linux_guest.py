#!/usr/bin/env python3
r"""Fetches Debian's Linux as guests: build/linux/ of 32 bits (vmlinuz, vmlinuz-pae, initrd), build/linux64/ of 64.

    linux_guest.py                  fetch what is not there yet, and make the initial RAM disks
    linux_guest.py --again          fetch it again: the archive may have a newer kernel
    linux_guest.py --session FILE   with these lines as the session that /init types

It comes to build/linux/, or where the variable ZENO_LINUX says, and beside that. Then, for one:

    make qemu LAB=3 SOLUTION=1 LINUX=1 APPEND="-- start vmlinuz engine=bt"
    make qemu LAB=5 SOLUTION=1 LINUX=1 APPEND="-- start linux64"

Nothing is installed, and the machine's own lists of packages stay as they are: apt-get gets the machine's
sources, but lists, cache, state and an architecture of its own, and dpkg-deb unpacks. The kernels are
those that linux-image-686, linux-image-686-pae, which has PAE and NX, and linux-image-cloud-amd64 depend on
today; a RAM disk holds a static busybox, a few device nodes and guest/linux/init. Debian's memtest86+ comes along
as build/linux/memtest and build/linux64/memtest64, for it is started as Linux is. The status is 1, after one line, if the
network or a package is missing.
"""

import argparse
import dataclasses
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import trouble

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / os.environ.get("ZENO_LINUX", "build/linux")
INIT = ROOT / "guest/linux/init"
SESSION = ROOT / "guest/linux/session"
BUSYBOX = ("busybox-static", "bin/busybox")
PATIENCE = 600  # seconds for one download: only a dead network takes that long
TRAILER = "TRAILER!!!"


class NoGuest(Exception):
    """One line that says why there is no Linux."""


@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """Debian's packages of one architecture, and what comes of them."""
    arch: str
    place: Path
    kernels: dict  # file: the package that depends on today's kernel
    others: dict  # file: (package, where it is in it)
    initrd: str
    session: bytes  # what /init types, if nobody says otherwise
    modules: dict = dataclasses.field(default_factory=dict)
    """Drivers that are no part of the kernel itself, and what they need, by folder; those of one folder come into /lib."""


# For a machine without ACPI, PCI, APIC and firmware tables, with Zeno's window at the top of the address space.
# quiet: what the kernel says at boot depends on its version.
CMDLINE = ("console=ttyS0 reservetop=8M nosmp noapic nolapic acpi=off pci=off pnpbios=off noisapnp "
           "mitigations=off nokaslr panic=-1 quiet")
CMDLINE_64 = "console=ttyS0 mitigations=off nokaslr panic=-1 quiet"  # on a machine with APICs, ACPI, and PCI
CLASSIC_64 = f"nosmp noapic nolapic acpi=off pci=off {CMDLINE_64}"
META = {"vmlinuz": "linux-image-686", "vmlinuz-pae": "linux-image-686-pae"}
LINUX_32 = System("i386", PLACE, META, {"busybox": BUSYBOX, "memtest": ("memtest86+", "boot/memtest86+ia32.bin")},
                  "initrd", SESSION.read_bytes())
LINUX_64 = System("amd64", PLACE.with_name(PLACE.name + "64"), {"linux64": "linux-image-cloud-amd64"},
                  {"busybox": BUSYBOX, "memtest64": ("memtest86+", "boot/memtest86+x64.bin")}, "initrd64", b"",
                  {"modules": ("ata_piix", "sd_mod"), "kvm": ("kvm_amd",), "xen": ("xen_blkfront",),
                   "xen-net": ("xen_netfront",), "xen-back": ("brd", "loop", "xen_blkback"),
                   "xen-netback": ("xen_netback",)})
MEMTEST = "mem=16 platform=pc-apic vcpus=2 boot=linux -- nopause"
INSERT = "for m in /lib/*.ko; do insmod $m; done"  # their names begin with numbers, in their order
LOUD = "echo 7 > /proc/sys/kernel/printk"  # what Linux waits for from here on is to be read


def modules():
    """[file and words, as a boot module]: the words are options of `start`, `--`, and Linux' own."""
    start = {LINUX_32: f"mem=64 boot=linux -- initrd=initrd {CMDLINE}",
             LINUX_64: f"mem=128 platform=pc-apic boot=linux -- initrd=initrd64 {CMDLINE_64} shell"}
    return [line for system, words in start.items() for line in
            [f"{os.path.relpath(system.place / name, ROOT)} {words}" for name in system.kernels]
            + [f"{os.path.relpath(system.place / name, ROOT)} {MEMTEST}" for name in system.others if name == "memtest64"]
            + [os.path.relpath(system.place / system.initrd, ROOT)]]


def apt_options(state, arch):
    """apt without the machine's state: lists, cache and dpkg's status below `state`, for one architecture."""
    options = {
        "APT::Architecture": arch,
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Update::Post-Invoke-Success": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
        "Acquire::http::Timeout": "20",
    }
    if os.getuid() == 0:
        options["APT::Sandbox::User"] = "root"  # _apt may not write below our home
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    # A list replaces the machine's own only where it is cleared first.
    return ["-o", "#clear=APT::Architectures", *words, "-o", f"APT::Architectures::={arch}"]


def apt(command, state, arch, *words, cwd=None):
    """Runs apt-get or apt-cache; its status and its output."""
    try:
        done = subprocess.run([command, "-q", *apt_options(state, arch), *words], cwd=cwd,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=PATIENCE, check=False,
                              env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"})
    except FileNotFoundError:
        raise NoGuest(f"{command} is not here: only Debian's tools can fetch Debian's Linux") from None
    except subprocess.TimeoutExpired:
        raise NoGuest(f"{command} {words[0]}: nothing for {PATIENCE} s, is there a network?") from None
    return done.returncode, done.stdout.decode("utf-8", "replace")


def why(output):
    """apt's own reason: its first error, else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err:"))]
    return (errors or lines or ["it said nothing"])[0 if errors else -1][:200]


def kernel_package(state, arch, meta):
    """What a package such as linux-image-686 depends on today, or None."""
    status, text = apt("apt-cache", state, arch, "depends", meta)
    found = re.search(rf"Depends: (linux-image-\S+{meta.removeprefix('linux-image')})$", text, re.M)
    return found[1] if status == 0 and found else None


def fetch(state, system):
    """The packages as files, by what comes out of them."""
    arch = system.arch
    shutil.rmtree(state, ignore_errors=True)
    for name in ("lists/partial", "cache/archives/partial", "debs"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    # A source without this architecture makes this fail; what counts is whether the packages are in the others.
    _, said = apt("apt-get", state, arch, "update")
    packages = {name: package for name, (package, _) in system.others.items()}
    for name, meta in system.kernels.items():
        packages[name] = kernel_package(state, arch, meta)
        if not packages[name]:
            raise NoGuest(f"no {meta} for {arch} in this machine's apt sources ({why(said)})")
    status, said = apt("apt-get", state, arch, "download", *packages.values(), cwd=state / "debs")
    files = {name: sorted((state / "debs").glob(f"{package}_*.deb")) for name, package in packages.items()}
    if status or not all(files.values()):
        raise NoGuest(f"{', '.join(packages.values())} were not downloaded ({why(said)})")
    return {name: found[0] for name, found in files.items()}


def unpack(package, wanted, to):
    """One file out of a package; `wanted` is a pattern from the package's root."""
    tree = to.with_name("tree")
    shutil.rmtree(tree, ignore_errors=True)
    done = subprocess.run(["dpkg-deb", "-x", package, tree], capture_output=True, check=False)
    found = sorted(p for p in tree.glob(wanted) if p.is_file())
    if done.returncode or len(found) != 1:
        raise NoGuest(f"{package.name} has no {wanted}: {done.stderr.decode().strip()}")
    shutil.copyfile(found[0], to)
    shutil.rmtree(tree)


def with_needed(files, wanted, found=()):
    """These modules, each behind those that it says it needs: names of `files`, {name: path}."""
    for name in wanted:
        if name not in files:
            raise NoGuest(f"the kernel's package has no module {name}")
        needs = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
        found = with_needed(files, [n.replace("-", "_") for n in needs[1].decode().split(",") if n] if needs else (), found)
        found = found if name in found else (*found, name)
    return found


def unpack_modules(package, folders, place):
    """A kernel's modules, and what they need, as files whose names sort in the order in which they are inserted: in `folders`."""
    tree = place / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-x", package, tree], capture_output=True, check=False)
    files = {p.stem.replace("-", "_"): p for p in tree.glob("lib/modules/*/kernel/**/*.ko")}
    for folder, wanted in folders.items():
        to = place / folder
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        for number, name in enumerate(with_needed(files, wanted)):
            shutil.copyfile(files[name], to / f"{number:02}-{name}.ko")
    shutil.rmtree(tree)


def entry(number, name, mode, data=b"", device=(0, 0)):
    """A file in an archive "newc" (Linux: Documentation/driver-api/early-userspace/buffer-format.rst)."""
    path = name.encode() + b"\0"
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def initrd(busybox, session, modules=()):
    """The RAM disk: no times and no owners, so that the same files make the same bytes; modules are paths."""
    files = [(name, stat.S_IFDIR | 0o755, b"", (0, 0)) for name in ("bin", "dev", "etc", "proc", "tmp", *["lib"][:len(modules)])]
    files += [(f"lib/{path.name}", stat.S_IFREG | 0o644, path.read_bytes(), (0, 0)) for path in modules]
    files += [
        ("bin/busybox", stat.S_IFREG | 0o755, busybox, (0, 0)),
        ("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)),
        ("dev/ttyS0", stat.S_IFCHR | 0o600, b"", (4, 64)),
        ("dev/null", stat.S_IFCHR | 0o666, b"", (1, 3)),
        ("dev/port", stat.S_IFCHR | 0o600, b"", (1, 4)),
        ("etc/session", stat.S_IFREG | 0o644, session, (0, 0)),
        ("init", stat.S_IFREG | 0o755, INIT.read_bytes(), (0, 0)),
        (TRAILER, 0, b"", (0, 0)),
    ]
    return b"".join(entry(number, *file) for number, file in enumerate(files, 1))


def here(system=LINUX_32):
    """Whether the guests have been fetched."""
    return all((system.place / name).is_file() for name in (*system.kernels, *system.others, "version")) and (
        all((system.place / folder).is_dir() for folder in system.modules))


def bring(system=LINUX_32, again=False):
    """Fetches kernels and busybox into the system's folder. Raises NoGuest."""
    place = system.place
    if here(system) and not again:
        return
    place.mkdir(parents=True, exist_ok=True)
    packages = fetch(place / "apt", system)
    for name, package in packages.items():
        unpack(package, system.others[name][1] if name in system.others else "boot/vmlinuz-*", place / name)
    if system.modules:
        unpack_modules(packages[next(iter(system.kernels))], system.modules, place)
    (place / "version").write_text(" ".join(package.name for package in packages.values()) + "\n")
    shutil.rmtree(place / "apt")


def make_initrd(system=LINUX_32, session=None, to=None, *folders):
    """The RAM disk with these bytes as its session, and the modules of these folders, or of "modules"; where it is."""
    to = to or system.place / system.initrd
    data = initrd((system.place / "busybox").read_bytes(), system.session if session is None else session,
                  [path for folder in folders or ("modules",) for path in sorted((system.place / folder).glob("*.ko"))] if system.modules else ())
    if not to.is_file() or to.read_bytes() != data:
        to.write_bytes(data)
    return to


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="fetch Debian's Linux as guests")
    parser.add_argument("--again", action="store_true", help="fetch it even if it is there")
    parser.add_argument("--session", type=Path, help="lines that /init types")
    parser.add_argument("--modules", action="store_true", help="print words for boot modules, do nothing")
    options = parser.parse_args()
    if options.modules:
        print(" ".join(f"--module {shlex.quote(line)}" for line in modules()))
        return 0
    for system in LINUX_32, LINUX_64:
        try:
            bring(system, options.again)
            made = make_initrd(system, options.session and options.session.read_bytes())
        except (NoGuest, OSError, subprocess.SubprocessError) as error:
            print(f"no Linux guest: {error}", file=sys.stderr)
            return 1
        sizes = ", ".join(f"{name} {(system.place / name).stat().st_size} bytes"
                          for name in (*system.kernels, made.name))
        print(f"{os.path.relpath(system.place, ROOT)}: {(system.place / 'version').read_text().strip()}: {sizes}")
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
