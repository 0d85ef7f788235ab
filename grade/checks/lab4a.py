"""Lab 4A, exercise 4.2: the way into the guest and back, on VT-x.

Witnessed through Bochs' own debugger: registers are set and read on both sides of VMLAUNCH and VMRESUME, and in the guest
at its first instruction.
"""

import re
import struct

from checks.lab0 import KB
from zeno.judging import headers

from .lab4 import CODE_AT, CPUID_AT, GPRS, KEPT, STOP, STOPS, find_code, host_kept, said, same_registers, witness, word

CARRIED = [name for name in GPRS if name != "rsp"]
"""Those that are not the VMCS's."""
VMLAUNCH, VMRESUME = b"\x0f\x01\xc2", b"\x0f\x01\xc3"
FLAG_DF, CR0_PG = 1 << 10, 1 << 31
WATCHED, WINDOWS = 100, 10
TIME = re.compile(r"Next at t=(\d+)")
ENTERED, NO_VMCS, REFUSED = headers.numbers(("vmm/vmx/vmx.h",), ("ENTERED", "NO_VMCS", "REFUSED_VMCS"))
ANSWERS = {ENTERED: "ENTERED", NO_VMCS: "NO_VMCS", REFUSED: "REFUSED_VMCS"}


class Crossing:
    """One call of vmx_enter(), seen at its begin, at the entry, in the guest, where the CPU comes back, and at its end."""

    def __init__(self, t, launched=None, skip=0, deeper=0):
        self.t, self.rng, self.launched, self.skip, self.deeper = t, t.rng, launched, skip, deeper
        self.entry, self.exited = t.symbol("vmx_enter"), t.symbol("vmx_exited")
        self.entries = {at: name for name, code in (("VMLAUNCH", VMLAUNCH), ("VMRESUME", VMRESUME))
                        for at in find_code(t, code, min(self.entry, self.exited))}
        self.host = self.at_entry = self.in_guest = self.end = self.back_at = None
        self.by, self.gpr, self.back = "", 0, 0
        self.wanted, self.left, self.stored = {}, {}, {}

    def begin(self, client, regs):
        """At vmx_enter: random registers for the guest."""
        self.host, self.gpr = dict(regs), regs["rdi"]
        self.back = word(client, regs["rsp"])
        if self.deeper:  # as if somebody called who is further from his own return
            self.host["rsp"] -= self.deeper
            client.write(self.host["rsp"], struct.pack("<Q", self.back))
            client.set_reg("rsp", self.host["rsp"])
        self.wanted = {name: self.rng.getrandbits(64) for name in GPRS}
        client.write(self.gpr, struct.pack("<16Q", *(self.wanted[name] for name in GPRS)))
        if self.launched is not None:
            client.set_reg("rsi", self.rng.getrandbits(64) & ~0xFF | self.launched)

    def cross(self, client, regs):
        """All of one call; `skip` calls before it go by."""
        if self.skip:
            self.skip -= 1
            return False
        self.begin(client, regs)
        for point in (*self.entries, CODE_AT, self.exited, self.back):
            client.insert(point)
        for _ in range(STOPS):
            client.cont()
            regs = client.regs()
            if regs["rip"] in self.entries:
                self.at_entry, self.by = regs, self.entries[regs["rip"]]
            elif regs["rip"] == CODE_AT:
                self.in_guest = regs
            elif regs["rip"] == self.exited:
                self.back_at = regs
                self.left = {name: self.rng.getrandbits(64) for name in CARRIED}
                for name, value in self.left.items():
                    client.set_reg(name, value)
            elif regs["rip"] == self.back:
                self.end = regs
                self.stored = dict(zip(GPRS, struct.unpack("<16Q", client.read(self.gpr, 128))))
                client.set_reg("rsp", regs["rsp"] + self.deeper)
                break
        return True

    def run(self, *commands):
        """Boot, and look."""
        t = self.t
        t.check(set(self.entries.values()) == {"VMLAUNCH", "VMRESUME"}, "vmx_enter() lacks VMLAUNCH or VMRESUME",
                "0f 01 c2 and 0f 01 c3", ", ".join(self.entries.values()) or "none")
        run, _ = witness(t, commands or ["launch"], {self.entry: self.cross})
        if not self.host:
            t.orderly(run)
        t.check(self.host, "nobody calls vmx_enter()", "one call", run.text()[-600:])
        if not self.at_entry and "panic" in run.text():
            t.orderly(run)
        t.check(self.at_entry, "vmx_enter() never comes to VMLAUNCH or VMRESUME", "one of them", run.text()[-600:])
        return run

    def host_as_it_was(self, run, answer):
        """What C wants back, and the answer."""
        t = self.t
        if not self.end:
            t.orderly(run)
        t.check(self.end, "vmx_enter() never comes back", "a return", run.text()[-600:])
        host_kept(t, self.host, self.end, "vmx_enter")
        t.check(not self.end["eflags"] & FLAG_DF, "DF is set behind vmx_enter()", "DF=0", "DF=1")
        got = self.end["rax"] & 0xFFFFFFFF
        t.check(got == answer, "vmx_enter() says something else than what happened", ANSWERS[answer],
                ANSWERS.get(got, f"eax {got:#x}"))


def carried_in(t):
    """Random registers for the guest, by VMLAUNCH and by VMRESUME, and at the guest's first instruction."""
    for skip, name in ((0, "VMLAUNCH"), (t.rng.randrange(1, 4), "VMRESUME")):
        one = Crossing(t, skip=skip)
        run = one.run(f"launch {skip + 2}")
        t.check(one.by == name, f"entry {skip + 1} is not by {name}", name, one.by)
        same_registers(t, CARRIED, one.wanted, one.at_entry, f"{{}} is not the guest's at {name}")
        if skip:  # it goes on behind its cpuid
            t.check(one.back_at, f"the CPU never came back by vmx_exited behind {name}", "an exit", run.text()[-600:])
            continue
        t.check(one.in_guest, "the guest never came to its first instruction", f"rip {CODE_AT:x}", run.text()[-600:])
        same_registers(t, CARRIED[:7], one.wanted, one.in_guest, "{} is another one in the guest", 0xFFFFFFFF)


def carried_out(t):
    """Random registers behind the guest: in gpr[], and the host has its own, wherever its stack is at the next entry."""
    for skip, deeper in ((0, 0), (t.rng.randrange(1, 4), 16 * t.rng.randrange(4, 32))):
        one = Crossing(t, skip=skip, deeper=deeper)
        run = one.run(f"launch {skip + 2}")
        if not one.left:
            t.orderly(run)
        t.check(one.left, "the CPU never came back by vmx_exited", "an exit", run.text()[-600:])
        one.host_as_it_was(run, ENTERED)
        same_registers(t, CARRIED, one.left, one.stored, "gpr[] does not have the guest's {}")


def refused(t):
    """What the CPU refuses comes back, each in its way, and the next entry works."""
    number = t.rng.randrange(2, 5)
    again = f"launch {number}"
    for command, launched, skip, answer, words in (
            (f"launch {number + 1}", 1, 0, REFUSED, "no exit: the CPU refuses the VMCS (VM-instruction error 5)"),
            (f"launch {number + 1}", 0, 1, REFUSED, "no exit: the CPU refuses the VMCS (VM-instruction error 4)"),
            ("launch 1 bad", None, 0, ENTERED, "no exit: the CPU refuses the guest's state (exit reason 33)")):
        one = Crossing(t, launched, skip)
        run = one.run(command, again)
        one.host_as_it_was(run, answer)
        same_registers(t, CARRIED, one.left or one.wanted, one.stored, "behind a refused entry gpr[] does not have the guest's {}")
        t.check(words in said(run, command), "an entry that must be refused was not", words, said(run, command))
        t.check(f"exit {number}: cpuid" in said(run, again), "behind a refused entry the next one does not work",
                f"exit {number}: cpuid at {CPUID_AT:x}", said(run, again))
        t.orderly(run)


def samples(t, client, points, instructions):
    """How often each of these addresses is met, in windows at random moments of so many instructions: {address: times}."""
    met = dict.fromkeys(points, 0)
    for _ in range(WINDOWS):
        for point in points:
            client.remove(point)
        client.step(t.rng.randrange(1, instructions // WINDOWS))
        for point in points:
            client.insert(point)
        for _ in range(STOPS):
            client.cont()
            at = int(STOP.search(client.said)[1], 16)
            # At the guest's address, with paging on, runs the host: it has made itself a copy of the guest.
            met[at] += at >= KB or not client.regs()["cr0"] & CR0_PG
    return met


def rounds(t):
    """Ten thousand rounds: some of them watched, and the host is as it was; and of more, anywhere, that the guest runs."""
    count = t.rng.randrange(10_000, 11_000)
    command, one = f"launch {count}", Crossing(t)
    state, seen, wrong, met = {}, [], [], {}

    def watch(client, regs):
        if regs["rip"] == one.entry:
            state["host"], state["back"] = regs, word(client, regs["rsp"])
            if len(seen) == 1:  # behind the first one a line is printed
                state["since"] = int(TIME.search(client.said)[1])
        elif regs["rip"] == CPUID_AT:
            seen.append((regs["rax"] & 0xFFFFFFFF, regs["rcx"] & 0xFFFFFFFF, regs["cs"]))
            host, back = state["host"], state["back"]
            client.insert(back)
            client.cont()
            client.remove(back)
            now = client.regs()
            wrong.extend(name for name in KEPT if now[name] != host[name])
            if now["rip"] != back or now["rsp"] != host["rsp"] + 8:
                wrong.append("rsp")
        if len(seen) < WATCHED:
            return False
        pace = (int(TIME.search(client.said)[1]) - state["since"]) // (WATCHED - 1)
        met.update(samples(t, client, (one.entry, CPUID_AT), pace * (count - 2 * WATCHED)))
        return True

    run, _ = witness(t, [command, "launch"], dict.fromkeys((one.entry, CPUID_AT), watch))
    t.orderly(run)
    t.check(not wrong, f"the host's {wrong[0] if wrong else ''} is another one behind vmx_enter()", "as it was", wrong[:3])
    t.check(len(seen) == WATCHED and set(seen) == {(1, 0, 8)}, "the guest does not come to its cpuid with what it has made",
            "eax 1, ecx 0, cs 8", seen[-1:])
    t.check(f"exit {count}: cpuid at {CPUID_AT:x}" in said(run, command), f"the guest does not come to its cpuid {count} times",
            f"exit {count}: cpuid at {CPUID_AT:x}", said(run, command))
    t.check("exit 1: cpuid" in said(run, "launch"), "behind that nothing works any more", "exit 1", said(run, "launch"))
    # A tick of the host's ends a round, and one in some ten windows.
    t.check(met.get(CPUID_AT, 0) > 0.9 * met.get(one.entry, 1), "the guest itself has not run so often: its cpuid, where vmx_enter() "
            "was looked at once more", f"{met.get(one.entry)} times", f"{met.get(CPUID_AT)} times")


def spin(t):
    """No VMCS is current; then a guest that never exits, with its interrupts on and off: the host goes on."""
    one = Crossing(t)
    count = t.rng.randrange(4, 8)
    command, ends = f"launch {count} spin", []
    state = {}

    def none(client, regs):
        back = word(client, regs["rsp"])
        client.insert(back)
        client.cont()
        state["none"] = regs, client.regs(), back
        client.remove(back)
        for point in (CODE_AT, one.exited):
            client.insert(point)
        for _ in range(8 * STOPS):
            client.cont()
            at, now = client.regs()["rip"], int(TIME.search(client.said)[1])
            if at == CODE_AT:
                client.remove(CODE_AT)
                state["since"] = now
            elif at == one.exited:
                ends.append(now - state.get("since", now))
                client.insert(CODE_AT)
            if len(ends) == count:
                break
        return True

    run, _ = witness(t, ["launch 1 none", command, "launch"], {one.entry: none})
    t.check("none" in state, "nobody calls vmx_enter()", "one call", run.text()[-600:])
    before, after, back = state["none"]
    if after["rip"] != back:
        t.orderly(run)
    t.check(after["rip"] == back, "without a current VMCS vmx_enter() never comes back", "a return", run.text()[-600:])
    for name in KEPT:
        t.check(after[name] == before[name], f"without a current VMCS the host's {name} is another one behind vmx_enter()",
                f"{before[name]:#x}", f"{after[name]:#x}")
    t.check(after["rax"] & 0xFFFFFFFF == NO_VMCS, "without a current VMCS vmx_enter() says something else", "NO_VMCS",
            ANSWERS.get(after["rax"] & 0xFFFFFFFF, f"eax {after['rax'] & 0xFFFFFFFF:#x}"))
    t.check(f"exit {count}: the host's turn at {CODE_AT:x}" in said(run, command), "a guest that never exits is not brought "
            "back by the host's interrupts", f"exit {count}: the host's turn at {CODE_AT:x}", said(run, command))
    t.check("exit 1: cpuid" in said(run, "launch"), "behind a guest that never exits nothing works any more", "exit 1",
            said(run, "launch"))
    t.orderly(run)
    t.check(sum(ends) > 1000 * count, "the guest that never exits has not run", f"more than {1000 * count} instructions", ends)
