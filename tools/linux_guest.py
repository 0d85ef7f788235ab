#!/usr/bin/env python3
r"""Fetches Debian's 32-bit Linux as a guest: build/linux/vmlinuz, vmlinuz-pae and initrd.

    linux_guest.py                  fetch what is not there yet, and make the initial RAM disk
    linux_guest.py --again          fetch it again: the archive may have a newer kernel
    linux_guest.py --session FILE   with these lines as the session that /init types

It comes to build/linux/, or where the variable ZENO_LINUX says. Then, for one:

    make qemu LAB=3 SOLUTION=1 LINUX=1 \
        APPEND="-- start vmlinuz engine=bt mem=64 -- boot=linux initrd=initrd"

Nothing is installed, and the machine's own lists of packages stay as they are: apt-get gets the machine's
sources, but lists, cache and state of its own and the architecture i386, and dpkg-deb unpacks. The kernels are
those that linux-image-686 and linux-image-686-pae, which has PAE and NX, depend on today; the RAM disk holds a
static busybox, a few device nodes and guest/linux/init. Debian's memtest86+ comes along as build/linux/memtest,
for it is started as Linux is. The status is 1, after one line, if the network or a package is missing.
"""

import argparse
import os
import re
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
META = {"vmlinuz": "linux-image-686", "vmlinuz-pae": "linux-image-686-pae"}
OTHERS = {"busybox": ("busybox-static", "bin/busybox"), "memtest": ("memtest86+", "boot/memtest86+ia32.bin")}
PATIENCE = 600  # seconds for one download: only a dead network takes that long
TRAILER = "TRAILER!!!"


class NoGuest(Exception):
    """One line that says why there is no Linux."""


def apt_options(state):
    """apt without the machine's state: lists, cache and dpkg's status below `state`, for i386."""
    options = {
        "APT::Architecture": "i386",
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
    return ["-o", "#clear=APT::Architectures", *words, "-o", "APT::Architectures::=i386"]


def apt(command, state, *words, cwd=None):
    """Runs apt-get or apt-cache; its status and its output."""
    try:
        done = subprocess.run([command, "-q", *apt_options(state), *words], cwd=cwd,
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


def kernel_package(state, meta):
    """What a package such as linux-image-686 depends on today, or None."""
    status, text = apt("apt-cache", state, "depends", meta)
    found = re.search(rf"Depends: (linux-image-\S+{meta.removeprefix('linux-image')})$", text, re.M)
    return found[1] if status == 0 and found else None


def fetch(state):
    """The packages as files, by what comes out of them."""
    shutil.rmtree(state, ignore_errors=True)
    for name in ("lists/partial", "cache/archives/partial", "debs"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    # A source without i386 makes this fail; what counts is whether the packages are in the others.
    _, said = apt("apt-get", state, "update")
    packages = {name: package for name, (package, _) in OTHERS.items()}
    for name, meta in META.items():
        packages[name] = kernel_package(state, meta)
        if not packages[name]:
            raise NoGuest(f"no {meta} for i386 in this machine's apt sources ({why(said)})")
    status, said = apt("apt-get", state, "download", *packages.values(), cwd=state / "debs")
    files = {name: sorted((state / "debs").glob(f"{package}_*.deb")) for name, package in packages.items()}
    if status or not all(files.values()):
        raise NoGuest(f"{', '.join(packages.values())} were not downloaded ({why(said)})")
    return {name: found[0] for name, found in files.items()}


def unpack(package, wanted, to):
    """One file out of a package; `wanted` is a pattern from the package's root."""
    tree = PLACE / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    done = subprocess.run(["dpkg-deb", "-x", package, tree], capture_output=True, check=False)
    found = sorted(p for p in tree.glob(wanted) if p.is_file())
    if done.returncode or len(found) != 1:
        raise NoGuest(f"{package.name} has no {wanted}: {done.stderr.decode().strip()}")
    shutil.copyfile(found[0], to)
    shutil.rmtree(tree)


def entry(number, name, mode, data=b"", device=(0, 0)):
    """A file in an archive "newc" (Linux: Documentation/driver-api/early-userspace/buffer-format.rst)."""
    path = name.encode() + b"\0"
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + path
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def initrd(busybox, session):
    """The RAM disk: no times and no owners, so that the same files make the same bytes."""
    files = [(name, stat.S_IFDIR | 0o755, b"", (0, 0)) for name in ("bin", "dev", "etc", "proc", "tmp")]
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


def here():
    """Whether the guests have been fetched."""
    return all((PLACE / name).is_file() for name in (*META, *OTHERS, "version"))


def bring(again=False):
    """Fetches kernels and busybox into build/linux/. Raises NoGuest."""
    if here() and not again:
        return
    PLACE.mkdir(parents=True, exist_ok=True)
    packages = fetch(PLACE / "apt")
    for name, package in packages.items():
        unpack(package, OTHERS[name][1] if name in OTHERS else "boot/vmlinuz-*", PLACE / name)
    (PLACE / "version").write_text(" ".join(package.name for package in packages.values()) + "\n")
    shutil.rmtree(PLACE / "apt")


def make_initrd(session=SESSION, to=PLACE / "initrd"):
    """The RAM disk with this file as its session."""
    data = initrd((PLACE / "busybox").read_bytes(), Path(session).read_bytes())
    if not to.is_file() or to.read_bytes() != data:
        to.write_bytes(data)
    return to


# For a machine without ACPI, PCI, APIC and firmware tables, with Zeno's window at the top of the address space.
# quiet: what the kernel says at boot depends on its version.
CMDLINE = ("console=ttyS0 reservetop=8M nosmp noapic nolapic acpi=off pci=off pnpbios=off noisapnp "
           "mitigations=off nokaslr panic=-1 quiet")


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="fetch Debian's 32-bit Linux as a guest")
    parser.add_argument("--again", action="store_true", help="fetch it even if it is there")
    parser.add_argument("--session", default=SESSION, help="lines that /init types")
    parser.add_argument("--words", action="store_true", help="print its command line, do nothing")
    options = parser.parse_args()
    if options.words:
        print(CMDLINE)
        return 0
    try:
        bring(options.again)
        make_initrd(options.session)
    except (NoGuest, OSError, subprocess.SubprocessError) as error:
        print(f"no Linux guest: {error}", file=sys.stderr)
        return 1
    sizes = ", ".join(f"{name} {(PLACE / name).stat().st_size} bytes" for name in (*META, "initrd"))
    print(f"{os.path.relpath(PLACE, ROOT)}: {(PLACE / 'version').read_text().strip()}: {sizes}")
    return 0


if __name__ == "__main__":
    sys.exit(trouble.guarded(main))
