#!/usr/bin/env python3
"""Disks that one domain has for another one: dom0's back end with our front end, Debian's Linux's, and PvGrub's.

`pv-disk` writes what it has drawn, several requests at a time, and reads it back; of the disk's bytes it and dom0 say the same
CRC. It asks for what can't be, breaks the ring's and the store's rules, ends at each step, and outlives back ends. Linux mounts
an ext2 made here, and writes on a second disk what is known here to the byte. PvGrub loads our kernel from its disk, which
connects to it anew. A boot of Linux takes 8 s of CPU, the others 2 each.
"""

import hashlib
import random
import re
import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from dom0 import ENDS, archive, config, ext2, shell, shown, start  # noqa: E402
from engine import Engine, each, guest  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
import xen_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

PV = Engine("8", "pv")
LIMIT = machine.Limits(instructions=60_000_000_000, cpu_seconds=40)
LINUX = linux_guest.LINUX_64
WORDS = "console=hvc0 mitigations=off nokaslr panic=-1 loglevel=4"
CURSOR = re.compile(r"\\x1b\n?(?:d1\| )?\[[0-9;?]*[A-Za-z]")


def disks(name, disk=(), **keys):
    return config(name, **{"kernel": "pv-disk"} | keys, disk=list(disk))


BAD = {"none.cfg": (["nothing,,xvda"], "none.cfg:4:9: nothing: there is no such file"),
       "small.cfg": (["none.cfg,,xvda"], "small.cfg:4:9: none.cfg: the file has not one sector"),
       "twice.cfg": (["img,,xvda,r", "img,,xvda,r"], "twice gets no xvda: it has a disk of this vdev")}


def ours(grub):
    """Our front end, to write, and to read; files that are wrong; PvGrub, if it is there."""
    draw = random.Random()
    image, text, seed = draw.randbytes(draw.randrange(100, 700) * 512), f"{draw.getrandbits(64):x}", draw.randrange(1, 1000)
    files = {"img": image, "motd": f"motd {text}\n".encode().ljust(1024, b"\0"), "pv-disk": guest("pv-disk").read_bytes(),
             "disk.cfg": disks("disk", ["img, raw, xvda, rw"], extra=f"rounds=20 seed={seed}"),
             "motd.cfg": disks("motd", ["file:motd,xvdb,r"], extra="cat rounds=2")}
    files |= {name: disks(name.removesuffix(".cfg"), disk) for name, (disk, _) in BAD.items()}
    starts = [start(24, *shell("create motd.cfg"), ENDS, *shell("create disk.cfg"), ENDS, *shell("crc32 img", "crc32 motd", "truncate 4K new",
                    "cat img", "cat new", "cat nothing", "cat motd", "halt")),
              start(24, *shell(*(f"create {name}" for name in BAD)), ENDS, *shell("halt"))]
    if grub:
        nonce = f"zeno {text}\n".encode()
        disk = ext2("1M", motd=nonce, **{"boot/kernel": files["pv-disk"]})
        files |= {"pvgrub": grub, "disk": nonce.ljust(1024, b"\0") + disk[1024:], "grub.cfg": disks("grub", ["disk,,xvda"], kernel="pvgrub", memory=32)}
        starts.append(start(24, *shell("create grub.cfg", "console grub"), *(("b> ", f"{line}\n") for line in (
            "ls", "cat (xen/xvda)/motd", "linux (xen/xvda)/boot/kernel cat", "boot")), *shell("halt")))
    said = PV.host(["start pv-hello", "frames", *starts, "audit", "start pv-hello", "frames"], [guest("dom0"), archive(**files), "pv-hello"])
    first, second, *third = [CURSOR.sub("", shown(part)) for part in each(said)[1:-1]]
    read, wrote = (f"d2| vbd {n}: 4/4, {len(data) // 512} sectors, {may}" for n, data, may in (
        (51728, files["motd"], "to read"), (51712, image, "to read and write")))
    ok(f"{read}\nd2| motd {text}\nd2| vbd 51728: crc32 {zlib.crc32(files['motd']):x}\nd2| 0 wrong; the end\n" in first
       and f"{zlib.crc32(files['motd']):x} motd" in first, "a file is another domain's disk, to read", text=first)
    crc = re.search(rf"{re.escape(wrote)}\nd2\| vbd 51712: crc32 (\w+)\nd2\| 0 wrong; the end\n", first)
    ok(crc and f"{crc[1]} img" in first and int(crc[1], 16) != zlib.crc32(image), "... and to write: what is written is in dom0's file",
       text=first)
    img, new, none, motd = [part.partition("dom0# ")[0] for part in first.split("dom0# cat ")[1:]]
    ok(motd == f"motd\nmotd {text}\n" and new == "new\n" and "there is no file nothing" in none and re.fullmatch(
        rf"img\n[\n -~]{{3000,4400}}\n\.\.\. of {len(image)} bytes the first 4096\n", img), "dom0 reads a file, and of bytes that are none shows no text",
       img=img, new=new, none=none, motd=motd)
    ok(all(words in second for _, words in BAD.values()) and "twice has ended" in second, "what is wrong with a disk is said", text=second)
    free = re.findall(r"^ *free +(\d+) frames", said, re.M)
    ok("audit: 0 differences" in said and len(free) == 2 and free[0] == free[1], "and no frame is lost", text=said[-2000:])
    if grub:
        ok("(xen/xvda)" in third[0] and third[0].count(f"zeno {text}") == 2
           and f"d2| vbd 51712: 4/4, 2048 sectors, to read and write\nd2| zeno {text}\nd2| 0 wrong; the end" in third[0]
           and "grub has ended: guest powered off" in third[0], "PvGrub loads a kernel from its disk, which has the disk then",
           text=third[0][-4000:])


HARM = ("requests", "any", "jump", "shake", "store", "rings")
STEPS = range(1, 10)


def harmful():
    """Front ends that lie, or end at any step: a neighbour has its disk meanwhile, and dom0 goes on. Back ends come and go."""
    draw = random.Random()
    image = draw.randbytes(128 * 512)
    files = {"img": image, "other": bytes(256 * 512), "pv-disk": guest("pv-disk").read_bytes(),
             "other.cfg": disks("other", ["other,,xvda"], extra="times=99"), "again.cfg": disks("again", ["img,,xvda"], extra="times=3")}
    files |= {f"{word}.cfg": disks(word, ["img,,xvda"], extra=f"harm={word}") for word in HARM}
    files |= {f"{n}.cfg": disks(f"end{n}", ["img,,xvda"], extra=f"die={n}") for n in STEPS}

    def each_of(names):
        return [step for name in names for step in (*shell(f"create {name}.cfg"), ENDS)]

    starts = [start(32, *shell("create other.cfg"), *each_of(HARM[:3]), *shell("destroy other"), ENDS, *shell("halt")),
              start(24, *each_of(HARM[3:]), *shell("list", "halt")), start(24, *each_of(STEPS[:6]), *shell("halt")),
              start(24, *each_of(STEPS[6:]), *shell("list", "halt")),
              start(24, *shell("create again.cfg"), ("y> ", "block-detach again xvda\n"), ENDS, *shell("block-attach again img,,xvda"),
                    ("y> ", "block-list again\n"), *shell("halt")),
              start(24, ("y> ", "list\n"), ENDS, *shell("halt"))]
    said = PV.host(["start pv-hello", "frames", *starts, "audit", "start pv-hello", "frames"], [guest("dom0"), archive(**files), "pv-hello"])
    parts = [shown(part) for part in each(said)[1:-1]]
    lies, ends, lives = "".join(parts[:2]), "".join(parts[2:4]), "".join(parts[4:])
    ok(lies.count("0 wrong; nothing has come of it") == len(HARM) and all(lies.count(f"{name}'s xvda is closed to it: ") == 1 for name in ("jump", "store"))
       and "other has ended: by dom0" in lies, "front ends that lie have their own disk closed to them, once said, and no more", text=lies)
    ok(all(f"end{n} has ended: " in ends for n in STEPS), "front ends that end at any step let dom0 go on", text=ends)
    ok("again has let go of xvda" in lives and "again was here before" in lives and re.search(r"^51712 xvda +4 w +128 +\d+ +\d+ img$", lives, re.M)
       and "d2| vbd 51712: 3 back ends, all is answered" in lives and "d2| 0 wrong; the end" in lives,
       "a front end outlives `block-detach`, and dom0", text=lives)
    free = re.findall(r"^ *free +(\d+) frames", said, re.M)
    ok("audit: 0 differences" in said and len(free) == 2 and free[0] == free[1], "and no frame is lost", text=said[-2000:])


def linux(kernel):
    """Debian's xen-blkfront: an ext2 that was made here, and bytes that are known here."""
    draw = random.Random()
    first, count = draw.randrange(10**5, 9 * 10**5), draw.randrange(24000, 40000)
    numbers = "".join(f"{n}\n" for n in range(first, first + count)).encode()
    fs, raw = ext2("2M", motd=f"{draw.getrandbits(64):x}\n".encode()), draw.randbytes(1 << 20)
    want = numbers[:4096 * 40] + raw[4096 * 40:]
    thin = numbers[:40960] + bytes(81920) + numbers[122880:4096 * 40] + bytes((1 << 20) - 4096 * 40)
    session = {linux_guest.INSERT: None, "dmesg | grep -c 'indirect descriptors: enabled'": "4", "mount -t devtmpfs d /dev; mkdir /mnt; mount -t ext2 /dev/xvda /mnt": None,
               f"seq {first} {first + count - 1} > /mnt/n; md5sum < /mnt/n": hashlib.md5(numbers).hexdigest() + "  -",
               "dd if=/mnt/n of=/dev/xvdb bs=4096 count=40 conv=notrunc 2> /tmp/e; tail -n 1 /tmp/e": "40+0 records out",
               "dd if=/mnt/n of=/dev/xvdd bs=4096 count=40 conv=notrunc,fsync 2> /tmp/e; blkdiscard -o 40960 -l 81920 /dev/xvdd; echo 3 > "
               "/proc/sys/vm/drop_caches; crc32 < /dev/xvdd": f"{zlib.crc32(thin):08x}",
               "umount /mnt; sync; echo 3 > /proc/sys/vm/drop_caches; crc32 < /dev/xvdb": f"{zlib.crc32(want):08x}",
               "mount -t ext2 /dev/xvda /mnt; md5sum < /mnt/n; umount /mnt": hashlib.md5(numbers).hexdigest() + "  -",
               "(echo no > /dev/xvdc) 2>&1": "sh: write error: Operation not permitted", "crc32 < /dev/xvda": "", linux_guest.LOUD: ""}
    image = folder() / "hda"
    image.write_bytes(raw)
    initrd = linux_guest.make_initrd(LINUX, "".join(f"{line}\n" for line in session).encode(), folder() / "initrd64", "xen")
    files = archive(**{"linux.cfg": disks("linux", ["fs,raw,xvda,rw", "phy:hda,xvdb,w", "fs2,,xvdc,r", "thin,,xvdd"], kernel="linux-pv", ramdisk="initrd64",
                                           memory=192, extra=WORDS), "linux-pv": kernel.read_bytes(), "initrd64": initrd.read_bytes(),
                       "fs": fs, "fs2": fs})
    typed = start(96, *shell("truncate 1M thin", "create linux.cfg"), ENDS, *shell("crc32 fs", "crc32 fs2", "crc32 thin", "ls", "halt"))
    result = machine.boot(kernel=PV.kernel, cpu="pv", mem=512, limits=LIMIT, modules=[(guest("dom0"), ""), (files, "")], idle=False, icount=True,
                          extra=("-drive", f"file={image},format=raw,if=ide,index=0"), cmdline=f"panic=off -- {typed}; audit; off")
    console = result.text()
    result.cleanup()
    text = shown(console, "linux")
    for line, answer in session.items():
        if answer:
            ok(f"zeno# {line}\n{answer}\n" in text, f"Linux: {line[:60]}", got=text[-4000:], want=answer)
    at = re.search(r"zeno# crc32 < /dev/xvda\n(\w+)\n", text)
    ok(at and f"{int(at[1], 16):x} fs\n" in text and int(at[1], 16) != zlib.crc32(fs), "what Linux has on its file system is in dom0's file", text=text[-3000:])
    ok(image.read_bytes() == want, "... and what it wrote on a drive of the machine's is in the image outside, to the byte", text=text[-3000:])
    ok(f"{zlib.crc32(fs):x} fs2\n" in text, "... and nothing on the disk that it may read alone", text=text[-3000:])
    ok(f"{zlib.crc32(thin):x} thin\n" in text and " 1048576 thin, sparse, 80 KiB of memory" in text,
       "what it discards of a sparse file takes no memory any more", text=text[-3000:])
    ok("linux has ended: guest powered off" in text and "audit: 0 differences" in console, "and it halts", text=text[-2000:])
    ok("timeout closing" not in text, "... and nobody keeps it waiting there", text=text[-2000:])


def main():
    try:
        linux_guest.bring(xen_guest.PVGRUB)
        grub = (xen_guest.PVGRUB.place / "pvgrub").read_bytes()
    except linux_guest.NoGuest as why:
        skip("PvGrub with a disk", f"it could not be fetched: {why}")
        grub = None
    ours(grub)
    harmful()
    try:
        linux(xen_guest.linux_pv())
    except linux_guest.NoGuest as why:
        skip("Debian's Linux with a disk", f"it could not be fetched: {why}")
    finish()


if __name__ == "__main__":
    main()
