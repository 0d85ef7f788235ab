#!/usr/bin/env python3
"""The core without te: a build whose only engine is tests/dummy, which has no CPU and plays a script of exits.

The build is a lab as the hardware engines' will be: it needs Lab 0 alone. Neutral handlers do what the exits ask;
events are injected, refused, offered again, delivered again after an exit during delivery, and combined; a vCPU blocks
and wakes. All of it with poison=1, too, which must find two handlers that do what none may.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import ran  # noqa: E402
from harness import ROOT, finish, folder, ok, run  # noqa: E402

sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402

LIMIT = machine.Limits(instructions=2_000_000_000, cpu_seconds=60)


def build():
    """A copy of the tree with the dummy's lab in it, built: where its kernel is."""
    tree = folder() / "tree"
    names = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.split("\0")
    for name in names:
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    shutil.copy2(ROOT / "tests/dummy/99.toml", tree / "grade/labs/99.toml")
    (tree / "solutions/99-dummy").mkdir()
    for path in (ROOT / "tests/dummy").glob("*.[ch]"):
        shutil.copy2(path, tree / "solutions/99-dummy")
    done = run("make", "-s", "-j2", "LAB=99", "SOLUTION=1", "WERROR=1", "build/lab99-solution-werror/zeno.mb",
               cwd=tree)
    ok(done.status == 0, "a lab that needs Lab 0 alone builds with the core and without te", out=done.out[-3000:])
    return tree / "build/lab99-solution-werror/zeno.mb"


def boot(kernel, options, *commands):
    """What the host says."""
    cmdline = f"panic=off {options} -- {'; '.join(commands)}; off"
    return ran("qemu", kernel, cmdline, [ROOT / "build/guest/hello.elf"], cpu="te", limits=LIMIT).text


def main():
    kernel = build()
    for options in ("poison=0", "poison=1"):
        for platform in ("pc", "bench"):
            text = boot(kernel, options, f"start hello engine=dummy platform={platform}")
            ok("d1| hi\nd1| a string\nd1 hello: ended: exit code 7" in text,
               f"the script is played to its end ({options}, platform={platform})", out=text)
    text = boot(kernel, "poison=1", "start hello engine=dummy -- triple")
    ok("stopped: triple fault: #DF, then #GP(0)" in text, "a fault on top of #DF is a triple fault", out=text)
    text = boot(kernel, "poison=0", "start hello engine=dummy -- ask", "start hello engine=dummy -- say")
    ok(re.search(r"reads cr3 as 3000\n.*exit code 7.*exit code 7", text, re.S) is not None,
       "without poison nobody sees that a handler forgets", out=text)
    text = boot(kernel, "poison=1", "start hello engine=dummy -- ask")
    ok("did not ask reads cr3 as a5a5a5a5a5a5a5a5" in text, "with it a handler that did not ask reads nonsense", out=text)
    text = boot(kernel, "poison=1", "start hello engine=dummy -- say")
    ok("panic: poison: state was changed" in text, "and one that does not say what it changed is found", out=text)
    two = "start hello engine=dummy vcpus=2"
    text = boot(kernel, "poison=1", "frames", two, two, "threads", two, "frames")
    ok(len(re.findall(r"d\d\| hi\nd\d hello: ended: exit code 7", text)) == 3,
       "a vCPU starts another one, flushes its own TLB and everybody's, and both end with the domain", out=text)
    text = boot(kernel, "", "engines", "start hello engine=absent", "start hello engine=dummy vcpus=3")
    ok("not here: this CPU has no dummy mode" in text and "engine absent: this CPU has no dummy mode" in text,
       "an engine that this CPU has not says why", out=text)
    ok("engine dummy: a domain has 1 to 2 vCPUs" in text, "and one says how many vCPUs it has", out=text)
    finish()


main()
