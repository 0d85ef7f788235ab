#!/usr/bin/env python3
"""tools/install.sh with a made-up system: what it asks apt for, and what it does when it can't."""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from harness import ROOT, TOOLS, finish, folder, ok, run  # noqa: E402

LIST = """\
# comment
one      build     cmd:tool-one   the first
two,more run       cmd:tool-two   the second
three    check     file:{here}/no*such  the third
four     handouts  cmd:sh         is here
"""


class System:
    """A PATH of our own, with pretended apt-get, id and sudo that log what they are asked."""

    def __init__(self, root=False, sudo=True, apt=True, fail=False):
        self.place = folder()
        self.bin = self.place / "bin"
        self.bin.mkdir()
        for name in ("sh", "tr", "dirname", "mktemp", "rm", "tail", "env", "uname", "echo"):
            os.symlink(shutil.which(name), self.bin / name)
        self.log = self.place / "log"
        (self.place / "packages").write_text(LIST.format(here=self.place))
        self.program("id", f"echo {0 if root else 1000}")
        if sudo:
            self.program("sudo", f'echo "sudo $1" >> {self.log}; exec "$@"')
        if apt:
            self.program("apt-get", f'echo "apt-get $*" >> {self.log}; '
                                    + ("echo E: broken >&2; exit 100" if fail else "exit 0"))

    def program(self, name, text):
        """A program that is here."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, *words):
        return run(self.bin / "sh", TOOLS / "install.sh", *words,
                   env={"PATH": str(self.bin), "ZENO_PACKAGES": str(self.place / "packages")})

    def asked(self):
        return self.log.read_text() if self.log.exists() else ""


def saying():
    system = System()
    done = system.run("--missing", "build")
    ok(done.status == 1 and done.out == "not here: tool-one; this installs it: "
       "sudo apt-get install --no-install-recommends one\n", "one line with the one command",
       out=done.out)
    done = system.run("--missing", "run")
    ok(" one two more\n" in done.out, "run takes in build; a package may bring another",
       out=done.out)
    done = system.run("--missing", "check")
    ok(" one two more three\n" in done.out and "four" not in done.out,
       "check takes in all; what is here is not asked for", out=done.out)
    done = System(root=True).run("--missing", "build")
    ok("sudo" not in done.out, "root needs no sudo", out=done.out)
    ok(system.asked() == "", "saying installs nothing", got=system.asked())
    done = system.run("--missing", "everything")
    ok(done.status == 2, "unknown words are refused", out=done.out)
    for name in ("tool-one", "tool-two"):
        system.program(name, "")
    done = system.run("--missing", "run")
    ok(done.status == 0 and done.out == "", "silent where all is here", out=done.out)
    done = system.run("run")
    ok(done.status == 0 and done.out == "" and system.asked() == "",
       "nothing to install: nothing said, nothing done", out=done.out)


def installing():
    system = System()
    done = system.run("run")
    ok(done.status == 0 and system.asked().split("\n")[:4] == [
        "sudo apt-get", "apt-get -q update", "sudo env",
        "apt-get -q -y install --no-install-recommends one two more"],
       "it updates the lists, then installs, by sudo", got=system.asked())
    ok("Installing the packages one two more" in done.out and "installed" in done.out,
       "and says so", out=done.out)
    system = System(root=True, sudo=False)
    done = system.run("build")
    ok(done.status == 0 and "sudo" not in system.asked(), "root installs without sudo",
       got=system.asked())
    system = System(sudo=False)
    done = system.run("build")
    ok(done.status == 1 and system.asked() == "" and
       "    apt-get update && apt-get install --no-install-recommends one\n" in done.out,
       "neither root nor sudo: the exact command, and it fails", out=done.out)
    done = System(apt=False).run("build")
    ok(done.status == 1 and "no apt-get" in done.out and "tool-one" in done.out,
       "no apt: it names what is missing, and fails", out=done.out)
    done = System(fail=True).run("build")
    ok(done.status == 1 and "E: broken" in done.out, "apt's own words where it fails", out=done.out)


def make_stops():
    """A make that lacks something says so in one line, and installs nothing."""
    system = System()
    for name in ("make", "sed", "printf"):
        os.symlink(shutil.which(name), system.bin / name)
    for goal in ("build", "qemu", "grade", "skeletons"):
        done = run(system.bin / "make", goal, "LAB=0", cwd=ROOT,
                   env={"PATH": str(system.bin),
                        "ZENO_PACKAGES": str(system.place / "packages")})
        ok(done.status != 0 and done.out.count("\n") == 1 and "this installs it: " in done.out,
           f"make {goal} says in one line what is missing", out=done.out)
    ok(system.asked() == "", "and installs nothing", got=system.asked())
    done = run(system.bin / "make", "help", cwd=ROOT, env={"PATH": f"{system.bin}:/usr/bin:/bin"})
    ok(done.status == 0 and "make demo" in done.out, "make help needs nothing", out=done.out)


def the_list():
    names = []
    for line in (TOOLS / "packages").read_text().splitlines():
        if line and not line.startswith("#"):
            words = line.split(None, 3)
            ok(len(words) == 4 and words[1] in ("build", "run", "check", "handouts", "faster", "cross")
               and words[2].startswith(("cmd:", "file:")), f"tools/packages: {words[0]}", got=line)
            names += words[0].split(",")
    ok(len(names) == len(set(names)), "no package twice", got=names)


saying()
installing()
make_stops()
the_list()
finish()
