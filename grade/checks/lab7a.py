"""Lab 7A: ports, upcalls, and two domains that call each other.

Equivalent: fresh guests, of whose ports and bits a model in Python knows what each operation answers. Witnessed: the tables of
ports as they lie in the machine's memory; and a kernel that is sent an event at each instruction with which it unmasks.
"""

import struct

from zeno.guests import pvports
from zeno.judging import evidence, headers

from .guests import module, restore
from .lab4 import said, word
from .lab5 import LIMITS
from .lab6a import Enough, invoke, prints, watched

HEADERS = ("vmm/domain.h", "vmm/pv/events/events.h")
(D_MACHINE, D_ID, PD_EVENTS, PE_PORTS, P_PAGE, P_SHARED, PORT_SIZE, PAGES, PER_PAGE, O_STATE, O_VCPU, O_DOM, O_OTHER) = headers.numbers(
    HEADERS, ("offsetof(struct domain, machine)", "offsetof(struct domain, id)", "offsetof(struct pv_domain, events)",
              "offsetof(struct pv_events, ports)", "offsetof(struct pv_ports, page)", "offsetof(struct pv_ports, shared)",
              "sizeof(struct pv_port)", "PV_PORT_PAGES", "PV_PORTS_PER_PAGE",
              *(f"offsetof(struct pv_port, {name})" for name in ("state", "vcpu", "dom", "other"))))


class Table:
    """A domain's ports, as they lie in memory."""

    def __init__(self, client, domain):
        at = word(client, word(client, domain + D_MACHINE) + PD_EVENTS) + PE_PORTS
        self.found = {}
        for n, page in enumerate(struct.unpack(f"<{PAGES}Q", client.read(at + P_PAGE, 8 * PAGES))):
            raw = client.read(page, PORT_SIZE * PER_PAGE) if page else b""
            for i in range(len(raw) // PORT_SIZE):
                one = raw[i * PORT_SIZE:(i + 1) * PORT_SIZE]
                words = one[O_STATE], one[O_VCPU], *(struct.unpack_from("<H", one, o)[0] for o in (O_DOM, O_OTHER))
                if words[0]:
                    self.found[n * PER_PAGE + i] = words
        self.pending = struct.unpack("<64Q", client.read(word(client, at + P_SHARED) + 2048, 512))

    def pends(self, port):
        """Its bit."""
        return self.pending[port // 64] >> port % 64 & 1

    def compare(self, t, who, ports):
        """With what the grader knows of them."""
        for n in sorted({*self.found, *ports}):
            wanted = ports[n].words() if n in ports else (0, 0, 0, 0)
            got = self.found.get(n, (0, 0, 0, 0))
            keep = {pvports.UNBOUND: 3, pvports.IPI: 2, pvports.CLOSED: 1}.get(wanted[0], 4)  # the others say nothing
            t.check(got[:keep] == wanted[:keep], f"{who}: port {n} is another one in memory (its state, vCPU, domain, port or VIRQ)",
                    wanted[:keep], got[:keep])
            t.check(n in ports or not self.pends(n), f"{who}: port {n} is closed, and pending", 0, 1)


# -- 7.1: ports --------------------------------------------------------------------------------------


def ports(t):
    """Each operation's answer."""
    prints(t, pvports.ports(t.rng, 60), "ports", "a guest that opens, closes and sends to ports that are and that are none")


def recounted(t):
    """The table of a guest that has opened and closed as it likes."""
    program, done = pvports.ports(t.rng, 40), []

    def see(client, regs):
        Table(client, regs["rdi"]).compare(t, "a guest that has opened, closed and sent", program.model.ports)
        done.append(True)
        raise Enough

    watched(t, program, {"domain_off": see})
    t.check(done, "the guest does not come to its end", "it powers off", "it does not")


# -- 7.2: upcalls ------------------------------------------------------------------------------------


def upcalls(t):
    """All bits, behind each operation."""
    prints(t, pvports.upcalls(t.rng, 60), "upcalls", "a guest that masks, unmasks, takes and sends")


def one_more(t, client, program, who, places, over):
    """The kernel goes on; at each of these places it is sent an event, and at the end it has heard of one."""
    sleeps, came = t.symbol("pv_waits"), program.at("came")
    before = word(client, came)
    for place in places:
        if client.regs()["rip"] != place:
            client.insert(place)
            client.cont()
            client.remove(place)
        now = client.regs()
        t.check(now["rip"] == place, f"{who}: it does not come there", f"{place:x}", f"{now['rip']:x}")
        client.write(now["rsp"] - 8, struct.pack("<Q", place))
        client.set_reg("rsp", now["rsp"] - 8)
        client.set_reg("rip", program.at("send_here"))
    for point in (over, sleeps):
        client.insert(point)
    client.cont()
    for point in (over, sleeps):
        client.remove(point)
    t.check(client.regs()["rip"] != sleeps, f"{who}: it sleeps over it", "it is called", "it waits for ever")
    heard = word(client, came) - before
    t.check(heard == 1, f"{who}: {'it is lost' if not heard else 'it is heard more than once'}", 1, heard)


def unmask_path(t):
    """An event at each instruction of the way on which a kernel unmasks."""
    program, done = pvports.ways(t.rng), []

    def see(client, regs):
        client.monitor("o /b 0x21 0xff")
        for i, (words, lines) in enumerate(pvports.WAYS.items()):
            jump = next((n for n, line in enumerate(lines) if line.startswith("je ")), len(lines))
            for n, line in enumerate(lines):
                if line == "mov byte [shared_page + 1], 1":
                    continue  # what comes before it masks is heard at once, and is no matter of this way
                who = f"a kernel {words}, and an event comes before instruction {n + 1} of {len(lines)} ({line.split('{')[0].strip()})"
                client.set_reg("rsp", program.at("stack") + 0x1800)
                client.set_reg("rip", program.at(f"way{i}_0"))
                # What lies behind the jump is done if another one has come before, which is not taken yet.
                one_more(t, client, program, who, [program.at(f"way{i}_{at}") for at in ([1, n] if n > jump else [n])],
                         program.at(f"over{i}"))
        done.append(True)
        raise Enough

    watched(t, program, {lambda p: p.at("idle"): see})
    t.check(done, "the guest does not come to its first line", "idle", "never")


# -- 7.3: two domains --------------------------------------------------------------------------------


def machine_with(t, programs):
    """(cmdline, modules, elves) for these three."""
    elves = [program.assemble(t.directory, name) for program, name in zip(programs, ("listener", "caller", "third"))]
    return elves, [module(elf) for elf in elves]


def peers(t):
    """What each of them hears."""
    *programs, _ = pvports.peers(t.rng)
    elves, modules = machine_with(t, programs)
    run = t.boot("panic=off -- start listener &; start caller; sleep 20; start third; sleep 50; off", modules=modules, elf=elves, limits=LIMITS, icount=True)
    lives = evidence.lives(run)
    by_name = {}
    for one in lives:
        by_name.setdefault(one.name, one)
    for program, name in sorted(zip(programs, ("listener", "caller", "third")), key=lambda pair: pair[1]):
        got = by_name[name].output.decode("ascii", "replace").split() if name in by_name else []
        for i, line in enumerate(program.wanted()):
            if i >= len(got):
                t.orderly(run)
            t.check(i < len(got), f"the {name} gets no further than line {i} of {len(program.expected)}", line, "\n".join(got[-3:]))
            t.check(line in (got[i], "?"), f"the {name} finds something else, in line {i + 1} of {len(program.expected)}", line, got[i])
    t.orderly(run)


def dead(t):
    """Both tables at the caller's end, and the listener's at the end of the next one with its number."""
    *programs, tables = pvports.peers(t.rng)
    elves, modules = machine_with(t, programs)
    ended = []

    def see(client, regs):
        number = len(ended)
        ended.append(word(client, regs["rdi"] + D_ID) & 0xFFFF)
        stack = (regs["rsp"] - 0x800) & ~15
        listener = invoke(t, client, stack, "domain_find", pvports.LISTENER)["rax"]
        if number == 0:
            Table(client, listener).compare(t, "the listener, when its caller ends", tables[0])
            Table(client, regs["rdi"]).compare(t, "the caller, at its end", tables[1])
        elif number == 1:
            Table(client, listener).compare(t, "the listener, when another caller has the dead one's number", tables[2])
            raise Enough
        restore(client, regs)
        return False

    try:
        run, _ = t.witness("panic=off -- start listener &; start caller; sleep 20; start third; off", {t.symbol("domain_off"): see}, modules=modules,
                           limits=LIMITS, icount=True)
        t.orderly(run)
    except Enough:
        return
    t.fail("the callers do not come to their ends", "two domains power off", said(run, "start caller"))
