#!/usr/bin/env python3
"""dom0: a PV domain of ours that makes the others, and serves their consoles and their store.

Its shell is typed to as a person would, with numbers that are drawn here. `pv-domu` speaks by its rings, and breaks them;
Debian's PvGrub comes to its prompt. Under the name dom0 `pv-control` asks what must be refused, and ends with pages of
others mapped; under its own it is nobody. No frame is lost behind any of it.
"""

import os
import random
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from dom0 import shown  # noqa: E402
from engine import BUILD, Engine, each, guest  # noqa: E402
from harness import ROOT, TOOLS, finish, folder, ok, skip  # noqa: E402

sys.path[:0] = [str(ROOT / "grade"), str(TOOLS)]
import linux_guest  # noqa: E402
import mkfiles  # noqa: E402
import xen_guest  # noqa: E402
from zeno.machines import machine  # noqa: E402

PV = Engine("7", "pv")
PROMPT, LEAVE = "dom0# ", "\x14"
CURSOR = re.compile(r"\\x1b\[[0-9;?]*[A-Za-z]")
DOM0 = "mem=24 module=files"


def typed(*steps):
    """What `start` types: behind each prompt a text."""
    words = "|".join(f"{prompt}|{text}" for prompt, text in steps)
    return "-- input=" + words.replace(" ", "~").replace("\n", "_")


def shell(*lines):
    return [(PROMPT, line + "\n") for line in lines]


def archive(**more):
    """dom0's files: the tree's, our kernels, and these."""
    files = {path.name: path.read_bytes() for path in sorted((ROOT / "guest/dom0/files").glob("*.cfg"))}
    files |= {name: guest(name).read_bytes() for name in ("pv-hello", "pv-domu")}
    to = folder() / "files.cpio"
    to.write_bytes(mkfiles.archive(files | more))
    return to


def config(name, **keys):
    keys = {"name": name, "kernel": "pv-domu", "memory": 8} | keys
    return "".join(f"{key} = {value!r}\n" for key, value in keys.items()).encode()


def frames(text):
    """What is free, at each `frames`."""
    return [int(n) for n in re.findall(r"^  free +(\d+) frames", text, re.M)]


STORE = ["my name in the store is domu", "data/colour is green", "data has colour", "my monitor's friend is dom0",
         "... whose name is not mine to write: EACCES", "event data/colour"]
ENDS = (PROMPT, "")
"""What a command that makes a domain has behind its own prompt: that of the other's end."""
LISTED = r"^d[o0mu]+ +\d +\d+ +(\w+) "
HELLO = "^hello has ended: guest powered off after \\d+ exits$"


def works(nonce):
    """Its commands, and lives of domains: one ends by itself, one is talked to, paused, taken over by the next dom0, ended."""
    first, second, third = yield (
        [*shell("ls", "create hello.cfg"), ENDS, *shell("nonsense", "pause hello", "dmesg", "halt")],
        [*shell("create domu.cfg", "console domu"), ("domu> ", f"{nonce}\n"), ("domu> ", LEAVE),
         *shell("info 2", "vcpu-set 2 2", "pause 2", "list", "unpause domu", "list", "halt")],
        shell(f"console domu\n{nonce}") + [("domu> ", LEAVE), *shell("destroy domu"), ENDS, *shell("list", "halt")])
    ok(re.search(HELLO, first, re.M) and "d2| caught 1; the end" in first, "a domain is made, and its end is told", text=first)
    ok(re.search(r"^ +\d+ pv-hello$", first, re.M) and "nonsense: no such command" in first and "has made no domain hello" in first,
       "files; no command; no domain", text=first)
    log = first.partition("dmesg\n")[2].splitlines()
    ok(any("hello: made by dom0 with" in line for line in log) and any("hello: ended: guest powered off" in line for line in log)
       and not any("caught 1" in line for line in log), "dmesg: what the monitor has said, and no guest", text=first)
    ok("\n".join(STORE) + "\ndomu> " in second, "a domain's store answers, refuses, and tells of a change", text=second)
    ok(f"domu> you said {nonce}\ndomu> \ndom0# " in second, "its console has the keys, and gives them back", text=second)
    ok(re.findall(LISTED, second, re.M) == ["running", "paused", "running", "blocked"], "list: it is paused, and waits again", text=second)
    ok(" MiB, 1 vCPUs, " in second and "2: a number of vCPUs, up to the 1 that domu was made with" in second, "vcpu-set: no more than there are", text=second)
    ok("domu was here before" in third and f"you said {nonce}" in third, "the next dom0 has what the last one made", text=third)
    ok("domu has ended: by dom0" in third and re.findall(LISTED, third, re.M) == ["running"], "destroy", text=third)


BAD = {"key.cfg": (b"name = 'x'\nmemroy = 8\n", "key.cfg:2:1: no such key"), "none.cfg": (config("x", kernel="nothing"), "none.cfg:2:10: there is no file nothing"),
       "name.cfg": (config("dom0"), "name.cfg:1:8: there is a domain of this name, dom0"),
       "vcpus.cfg": (config("x", vcpus=5), "vcpus.cfg:4:9: a PV domain has at most 4 CPUs here"),
       "disk.cfg": (config("x", ramdisk="0"), "disk.cfg:4:11: there is no file 0"),
       "big.cfg": (config("x", memory=4000), "x: there is no memory for it"), "cfg.cfg": (config("x", kernel="domu.cfg"), "x: that is no kernel")}
NOT_HERE = {"pvh.cfg": (config("x", type="pvh"), "x: its type wants AMD-V or VT-x of the machine, and LAB=all of Zeno"),
            "two.cfg": (config("x", type="pvh", vcpus=2), "two.cfg:5:9: a PVH domain has one CPU here")}
HARM = {"console": "d2| still here", "store": "d2| the store is closed to me: 2", "any": "d2| nothing has come of it"}


def ends(nonce):
    """What becomes of those that end: made anew with its console, kept, let go of; one that reboots without end is not for long."""
    again, storm, crash, asked, first, second = yield (
        [*shell("create again.cfg", "console again"), ("domu> ", "r\n"), ("domu> ", f"{nonce}\n"), ("domu> ", LEAVE), *shell("list"),
         (PROMPT, "destroy again\n"), ENDS, *shell("list", "halt")],
        [*shell("create storm.cfg"), *[ENDS] * 6, *shell("list", "halt")],
        [*shell("create kept.cfg"), ENDS, *shell("list", "create kept.cfg", "destroy kept", "create kept.cfg"), ENDS, *shell("halt")],
        [*shell("create obey.cfg", "shutdown obey"), ENDS, *shell("create obey.cfg", "reboot obey"), ENDS,
         *shell("uptime", "destroy obey"), ENDS, *shell("halt")],
        [*shell("create half.cfg"), ("half> ", "halt\n")],
        [*shell("console half\n"), ("domu> ", LEAVE), *shell("destroy half"), ENDS, *shell("halt")])
    ok("again has ended: guest has asked for a reboot" in again and "again starts again" in again
       and re.search(rf"domu> r\nyou said r\n.*domu> {nonce}\nyou said {nonce}\n", again, re.S) is None
       and f"you said {nonce}" in again and again.count("again has ended") == 2 and "again has ended: by dom0" in again,
       "reboot: a domain is made anew, and its console stays", text=again)
    ok(re.findall(LISTED.replace("d[o0mu]", "[adginom0]"), again, re.M) == ["running", "blocked", "running"], "... and is not behind `destroy`", text=again)
    ok(storm.count("storm starts again") >= 5 and "storm has come back 5 times by now: no more" in storm and "dom0: ended: guest powered off" in storm,
       "one that reboots at once does not come back for ever", text=storm[-3000:])
    ok("kept has ended: " in crash and crash.count("... and is kept") == 2 and re.search(r"^kept +\d+ +\d+  ended ", crash, re.M)
       and "there is a domain of this name, kept" in crash, "on_crash: it is kept, until `destroy` lets go of it", text=crash)
    ok("obey has ended: guest powered off" in asked and "obey has ended: guest has asked for a reboot" in asked and "obey starts again" in asked
       and re.search(r"^obey +2 0:00:\d\d$", asked, re.M), "shutdown and reboot, by the store; uptime", text=asked)
    ok("half| half> " in first and "the other half: EIO" in second and "\n".join(STORE[1:4]) in second,
       "a request of which another dom0 has taken a part is answered", text=first + second)


def bears():
    """Files that are wrong, and domains that mean harm by their rings; one talks for ever, one does not listen, one hoards."""
    wrong, harm, talk, deaf, hoard = yield (
        shell(*(f"create {name}" for name in BAD), "list", "halt"),
        [*shell("create console.cfg"), ENDS, *shell("create store.cfg"), ENDS, *shell("create any.cfg"), ENDS, *shell("halt")],
        [*shell("create talk.cfg"), ("A", "destroy talk\n"), ENDS, *shell("halt")],
        [*shell(*(f"create {name}" for name in NOT_HERE), "create deaf.cfg", "console deaf"), ("deaf> ", f"abc{LEAVE}"), *shell("destroy deaf"), ENDS, *shell("halt")],
        [*shell("create hoard.cfg"), ("mine> ", "create domu.cfg\n"), *shell("console domu"), ("domu> ", LEAVE),
         *shell("destroy hoard"), ENDS, *shell("destroy domu"), ENDS, *shell("halt")])
    ok(all(line in wrong for _, line in BAD.values()) and not re.search(r"^x ", wrong, re.M), "what is wrong in a file is said", text=wrong)
    ok(all(line in harm for line in HARM.values()) and harm.count("has ended: guest powered off") == len(HARM), "broken rings are let be", text=harm)
    ok("talk| AAA" in talk and "talk has ended: by dom0" in talk and "dom0: ended: guest powered off" in talk,
       "who talks for ever lets others be heard", text=talk[-2000:])
    ok("dom0# destroy talk" in re.sub(r"talk\| A*", "", talk.replace("\n", "")), "... and has its name before all that it says", text=talk[-2000:])
    ok(all(line in deaf for _, line in NOT_HERE.values()), "what a file wants, and there is not here", text=deaf)
    ok("deaf has ended: by dom0" in deaf and "dom0: ended: guest powered off" in deaf, "who does not listen keeps nobody", text=deaf)
    ok("\n".join(STORE) + "\ndomu> " in hoard, "who hoards takes from nobody else's store", text=hoard)


def grub(nonce):
    """Debian's PvGrub, to its prompt."""
    said, = yield ([*shell("create grub.cfg", "console grub"), ("grub> ", f"echo zeno-{nonce}\n"), ("grub> ", LEAVE),
                    *shell("destroy grub"), ENDS, *shell("halt")],)
    ok(f"\nzeno-{nonce}\n" in said and "grub has ended: by dom0" in said, "PvGrub is at its prompt, by dom0's console and store",
       text=said[-3000:])


def one_boot(parts, files):
    """All of these parts' sessions on one machine: no frame is lost behind any."""
    wanted = [next(part) for part in parts]
    starts = [f"start dom0 {DOM0} {typed(*session)}" for sessions in wanted for session in sessions]
    text = PV.host(["start pv-hello", "frames", *starts, "audit", "start pv-hello", "frames"], [guest("dom0"), files, "pv-hello"])
    dom0s = [CURSOR.sub("", shown(part)) for part in each(text)[1:-1]]
    for part, sessions in zip(parts, wanted):
        mine, dom0s = dom0s[:len(sessions)], dom0s[len(sessions):]
        try:
            part.send(mine + [""] * (len(sessions) - len(mine)))
        except StopIteration:
            pass
    before, *after = frames(text)
    ok("audit: 0 differences" in text and after == [before], "and no frame is lost", text=text[-2000:])


def refused():
    """Who is not dom0 may ask nothing, and dom0 not everything; and it ends with pages of others mapped."""
    bad = folder() / "dom0.elf"
    shutil.copyfile(guest("pv-control"), bad)
    start = "start dom0 module=pv-domu"
    text = PV.host(["start pv-control", "start pv-hello", "frames", start, "audit", "start pv-hello", "frames",
                    f"{start} -- die=crash", "audit d1", "audit d2", "audit d4", "list", "stop d2", "stop d4", "start pv-hello", "frames",
                    f"{start} -- die=late", "stop d2", "stop d4", "start dom0 & -- idle", "start dom0", "stop d1", "start pv-hello", "frames",
                    f"{start} -- die=midway", "vcpu d2", "gwalk 0x1000 d2", "audit d2", "vcpu d3.1", "audit d3", "stop d2", "stop d3", "start pv-hello", "frames"],
                   [bad, "pv-control", "pv-domu", "pv-hello"])
    parts = each(text)
    before, *after = frames(text)
    ok("0 wrong; nothing is mine to ask" in parts[0], "who is not dom0 may ask nothing", text=parts[0])
    ok("0 wrong; the end" in parts[2], "nor dom0 for what is nobody's", text=parts[2])
    ok("dom0 ends with 2 3 4" in text and "dom0: stopped: it says that it has crashed" in text
       and re.findall(r"^d(.) +made .* (\w+)$", text, re.M) == [("2", "paused"), ("4", "running")],
       "dom0 ends, and what it has made goes on", text=text)
    ok("dom0 ends with 2 3" in text and "vCPU 0 on pv, guest ring 0, real mode" in text and "vCPU 1 on pv, guest ring 3, 64-bit code" in text,
       "so does one that was not back yet, and the monitor looks at it", text=text[-5000:])
    ok(text.count("audit: 0 differences") == 6, "with nothing mapped that is another's", text=text)
    ok("dom0: there is one, d1" in text, "there is one dom0", text=text[-2000:])
    ok(after == [before] * 4, "and no frame is lost", text=text)


def weighs(files):
    """Weights: a file's, and the shell's, for dom0 and another; what is none is said."""
    lines = shell("create w.cfg", "sched-credit", "sched-credit -d 0 -w 1024", "sched-credit -d w -w 9", "sched-credit -d 2 -w 0",
                  "sched-credit w", "sched-credit", "halt")
    text = PV.host([f"start dom0 {DOM0} {typed(*lines)}"], [guest("dom0"), files])
    shown = [dict(re.findall(r"^(?:d1\| )?(\w+) +\d +(\d+)$", part, re.M)) for part in text.split("ID Weight\n")[1:]]
    ok(shown[:1] == [{"dom0": "256", "w": "512"}], "cpu_weight: a file says whose part of the CPU is larger", shown=shown, text=text)
    ok(shown[1:] == [{"dom0": "1024", "w": "9"}], "sched-credit: another weight, dom0's own, too", shown=shown, text=text)
    ok("0: a weight is a number from 1 to 65535" in text and "sched-credit [-d DOMAIN -w WEIGHT]" in text, "... and what is none is told",
       text=text)


def on_bochs(files):
    """Its interrupt controller and its clock are others. Domains beside each other, PvGrub among them if it is there."""
    lines = [*shell("create domu.cfg", "create grub.cfg", "console grub"), ("grub> ", "echo zeno\n"), ("grub> ", LEAVE),
             *shell("list", "destroy grub"), ENDS, *shell("halt")]
    if files:
        text = PV.host([f"start dom0 {DOM0} {typed(*lines)}", "audit"], [guest("dom0"), files], "bochs")
        ok("d1| domu| event data/colour" in text and "d1| zeno\n" in text and "grub has ended: by dom0" in text
           and "audit: 0 differences" in text, "bochs: dom0, PvGrub and a domain of ours beside each other", text=text[-3000:])
    bad = folder() / "dom0.elf"
    shutil.copyfile(guest("pv-pirq"), bad)
    text = PV.host(["start pv-pirq", "start dom0 -- tame", "start dom0 -- leave", "start dom0 -- tame"], [bad, "pv-pirq"], "bochs")
    ok("0 wrong; no line is mine" in text and text.count("0 wrong; the end") == 2 and "0 wrong; I leave" in text,
       "bochs: dom0 loses no interrupt of the disk", text=text)


def lines(nonce):
    """dom0 has the disk's line and ports, nobody else, and loses no interrupt of it; keys and VIRQ_DEBUG come as events."""
    bad, disk = folder() / "dom0.elf", folder() / "disk"
    shutil.copyfile(guest("pv-pirq"), bad)
    disk.write_bytes(f"{nonce}\0".encode().ljust(512, b".").rjust(2048, b"\0") + bytes(1 << 20))
    text = PV.host(["start pv-pirq", "start dom0", "start dom0 -- leave", "start dom0", f"start dom0 -- keys input=keys>~|{nonce}_q",
                    "start pv-pirq & -- keys", "start pv-hello", "virq d1", "start pv-hello", "stop d1", "virq d1"], [bad, "pv-pirq", "pv-hello"],
                   extra=("-drive", f"file={disk},format=raw,if=ide", "-device", "e1000"))
    parts = each(text)
    ok("0 wrong; no line is mine" in parts[0], "who is not dom0 has no line, and no port", text=parts[0])
    ok(f"the disk says {nonce}" in parts[1] and "0 wrong; the end" in parts[1], "dom0 reads the disk, and loses no interrupt", text=parts[1])
    ok("0 wrong; I leave" in parts[2] and f"the disk says {nonce}" in parts[3] and "0 wrong; the end" in parts[3],
       "it ends with the line up, which the next dom0 finds", text=parts[3])
    ok(f"d1| keys> {nonce}" in parts[4] and "dom0: ended: guest powered off" in parts[4], "keys come as VIRQ_CONSOLE", text=parts[4])
    ok("VIRQ_DEBUG" in text and text.count("hello: ended") == 2 and "d1: it has no port for VIRQ_DEBUG" in text,
       "virq: VIRQ_DEBUG, to who listens", text=text[-2000:])


def main():
    nonce = f"{random.getrandbits(48):x}"
    parts, more = [works(nonce), bears(), ends(nonce)], {}
    try:
        linux_guest.bring(xen_guest.PVGRUB)
        more["pvgrub"] = (xen_guest.PVGRUB.place / "pvgrub").read_bytes()
        parts.append(grub(nonce))
    except linux_guest.NoGuest as why:
        skip("Debian's PvGrub in a domain of dom0's", f"it could not be fetched: {why}")
    files = archive(**{name: data for name, (data, _) in {**BAD, **NOT_HERE}.items()}, **more,
                    **{f"{word}.cfg": config(word, extra=f"harm={word}") for word in (*HARM, "talk", "deaf", "hoard")},
                    **{"again.cfg": config("again"), "storm.cfg": config("storm", extra="harm=reboot"),
                       "w.cfg": config("w", cpu_weight=512), "obey.cfg": config("obey", extra="obey"), "half.cfg": config("half", extra="harm=half"),
                       "kept.cfg": config("kept", extra="harm=fault", on_crash="preserve")})
    one_boot(parts[:2], files)
    one_boot(parts[2:], files)
    refused()
    weighs(files)
    lines(nonce)
    if os.environ.get("ZENO_ALL") and not machine.missing("bochs"):
        on_bochs("pvgrub" in more and files)
    finish()


main()
