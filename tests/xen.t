#!/usr/bin/env python3
"""Debian's Xen as an oracle: `make peers`, and its part of `make bench PEERS=1`.

How columns are compared is tried here on columns of its own. Xen itself is booted where `make peers` has fetched it, by make check-all
alone: a guest there takes 1 s of CPU, the bench 12, a boot of Linux 60.
"""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, folder, ok, run, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import bench_peers_xen  # noqa: E402
import bench_pv  # noqa: E402
import xen_peer  # noqa: E402
from zeno.machines import machine  # noqa: E402

OURS = ["one", "a port 3", "two", "(powered off)"]


def compared():
    """What differs must be listed, and what is listed must differ."""
    listed = (xen_peer.Departure("ports", zeno=("a port 3",), xen=("a port [12]",)),)
    peers = ["one", "a port 1", "two", "(powered off)"]
    result = xen_peer.compare(listed, OURS, peers)
    ok(not result.unlisted and not result.stale and result.listed == 2, "a listed line may differ", result=result)
    result = xen_peer.compare((), OURS, peers)
    ok(result.unlisted == [("zeno", "a port 3"), ("xen", "a port 1")], "one that is not listed may not", result=result)
    result = xen_peer.compare(listed, OURS, OURS)
    ok(not result.unlisted and [side for side, _, _ in result.stale] == ["zeno", "xen"], "what is listed and equal is told", result=result)
    for peers in (OURS[:-1], OURS + ["more"], OURS[:2] + OURS[1:], ["two", "a port 3", "one", OURS[3]], OURS[:-1] + ["(crashed)"], []):
        ok(xen_peer.compare((), OURS, peers).unlisted, "a line less, more, twice, elsewhere, another end", peers=peers)
    ok(all(one.why and (one.zeno or one.xen) for guest in xen_peer.listed() for one in guest.departures),
       "each departure in the list has its reason")


def absent():
    """Where it has not been fetched, a line says what does; another one than those that are known is not taken."""
    place = folder() / "xen-4.17"
    none = os.environ | {"ZENO_LINUX": str(place.with_name("linux"))}
    done = run(sys.executable, TOOLS / "bench_peers_xen.py", env=none)
    ok(done.status == 1 and done.out.count("\n") == 1 and "make peers" in done.out, "without Xen: the command that is missing", out=done.out)
    place.mkdir()
    (place / "xen.gz").write_bytes(b"another")
    (place / "version").write_text(f"{xen_peer.PACKAGE}_9_amd64.deb\n")
    done = run(sys.executable, TOOLS / "xen_peer.py", "--fetch", env=none)
    ok(done.status == 1 and done.out.count("\n") == 1 and "not one that" in done.out, "another Xen is told, and not run", out=done.out)


def oracle():
    """All guests on both."""
    done = run("make", "-s", "-C", ROOT, "peers")
    rows = re.findall(r"^  (\w+) +\d+ lines on Zeno", done.out, re.M)
    ok(done.status == 0 and rows == [guest.name for guest in xen_peer.listed()], "our guests print on Xen what they print on Zeno",
       out=done.out)


def bench():
    """Each row has both numbers; where it has an aim Zeno's is the smaller one, or by no more than a twentieth the larger one."""
    done = run(sys.executable, TOOLS / "bench_peers_xen.py")
    rows = {name: tuple(map(int, numbers)) for name, *numbers in re.findall(r"^  (\S.*?)  +(\d+) +(\d+) .*\d\.\d", done.out, re.M)}
    ok(set(rows) == set(bench_pv.ROWS), "each row of the bench is there", rows=rows, out=done.out)
    dearer = {name: both for name, both in rows.items() if bench_pv.ROWS[name][1] and both[0] > both[1] * 1.05}
    ok(not dearer, "what has an aim costs no more than on Xen", dearer=dearer)
    boots = [[int(n.replace(",", "")) for n in both] for both in re.findall(r"^  (?:all|the hypervisor's) +([\d,]+) +([\d,]+)$", done.out, re.M)]
    ok(len(boots) == 2 and all(0 < zeno < xen for zeno, xen in boots), "Linux boots in fewer instructions than on Xen", boots=boots, out=done.out)


def main():
    if machine.missing("qemu"):
        skip("Xen beside Zeno", machine.missing("qemu"))
        finish()
    compared()
    absent()
    if not os.environ.get("ZENO_ALL"):
        skip("Xen itself", "make check-all boots it, where make peers has fetched it")
    elif xen_peer.missing():
        skip("Xen itself", xen_peer.missing())
    else:
        oracle()
        bench()
    finish()


if __name__ == "__main__":
    main()
