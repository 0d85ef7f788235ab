"""Lab 7A: ports, upcalls, and two domains that call each other.

Equivalent: fresh guests, of whose ports and bits a model in Python knows what each operation answers. Witnessed: the tables of
ports as they lie in the machine's memory; and a kernel that is sent an event at each instruction with which it unmasks.
"""

import struct

from zeno.guests import pvevents, pvpeers, pvports, pvupcalls
from zeno.judging import evidence, headers
from zeno.judging.trial import panic_line

from .guests import module, restore
from .lab4 import said, word
from .lab5 import LIMITS
from .lab6a import Enough, invoke, prints, watched

HEADERS = ("vmm/domain.h", "vmm/pv/events/events.h")
(D_PV, D_ID, PD_EVENTS, PE_PORTS, P_PAGE, P_SHARED, P_TAKEN, P_INFO, PORT_SIZE, PAGES, PER_PAGE, O_STATE, O_VCPU, O_DOM, O_OTHER) = headers.numbers(
    HEADERS, ("offsetof(struct domain, pv)", "offsetof(struct domain, id)", "offsetof(struct pv_domain, events)",
              "offsetof(struct pv_events, ports)", "offsetof(struct pv_ports, page)", "offsetof(struct pv_ports, shared)",
              "offsetof(struct pv_ports, taken)", "offsetof(struct pv_ports, info)",
              "sizeof(struct pv_port)", "PV_PORT_PAGES", "PV_PORTS_PER_PAGE",
              *(f"offsetof(struct pv_port, {name})" for name in ("state", "vcpu", "dom", "other"))))


class Table:
    """A domain's ports, as they lie in memory."""

    def __init__(self, client, domain):
        at = self.at = word(client, word(client, domain + D_PV) + PD_EVENTS) + PE_PORTS
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
    prints(t, pvevents.ports(t.rng, 60), "ports", "a guest that opens, closes and sends to ports that are and that are none")


def sent(t, client, stack, at):
    """pv_op_send() by itself, to a port of each state: whom it tells, and what it says."""
    port, other, dom, peer = t.rng.randrange(3, 400), t.rng.randrange(3, 4096), t.rng.randrange(3, 99), t.rng.getrandbits(40) << 12
    entry, arg, told = word(client, at + P_PAGE) + PORT_SIZE * port, stack - 0x200, []

    def tells(name):
        return name, lambda regs: told.append((name, regs["rdi"], regs["rsi"] & 0xFFFFFFFF))

    instead = [tells("pv_port_raise"), tells("pv_port_serves"), ("pv_ports_of", lambda regs: peer if regs["rdi"] & 0xFFFF == dom else at)]
    raised = ("pv_port_raise", at, port)
    for words, state, of, to, says, whom in (
            ("unbound", pvports.UNBOUND, dom, 0, 0, None), ("an IPI", pvports.IPI, 0, 0, 0, raised),
            ("a VIRQ", pvports.VIRQ, 0, 0, pvports.EINVAL, None), ("a PIRQ", 3, 0, 4, pvports.EINVAL, None),
            ("closed", pvports.CLOSED, 0, 0, pvports.EINVAL, None), (f"bound to domain {dom}'s port {other}", pvports.INTERDOMAIN, dom, other, 0,
                                                                     ("pv_port_raise", peer, other)),
            ("bound to a service of Zeno's", pvports.INTERDOMAIN, pvports.ZENO, 2, 0, ("pv_port_serves", at, 2))):
        client.write(entry, bytes(PORT_SIZE))
        client.write(entry + O_STATE, bytes([state]))
        client.write(entry + O_DOM, struct.pack("<H", of))
        client.write(entry + O_OTHER, struct.pack("<H", to))
        client.write(arg, struct.pack("<Q", port))
        told.clear()
        back = invoke(t, client, stack - 0x400, "pv_op_send", at, arg, instead=instead)["rax"] & 0xFFFFFFFF
        t.check(told == ([whom] if whom else []), f"port {port}, which is {words}, is sent by, and another one is told, or none",
                [whom] if whom else "nobody", told)
        t.check(back == says & 0xFFFFFFFF, f"port {port}, which is {words}, is sent by, and the answer is something else", says, back - (back >> 31 << 32))


def no_page(t, client, stack, at):
    """pv_port_new() by itself, when there is no memory for the page of ports that it comes to."""
    last, asked = PAGES - 1, []
    client.write(at + P_PAGE + 8 * last, bytes(8))
    client.write(at + P_TAKEN, struct.pack("<H", last * PER_PAGE))
    back = invoke(t, client, stack - 0x400, "pv_port_new", at, pvports.IPI << 8 * O_STATE, instead=[("pv_ports_page", asked.append)])["rax"]
    back &= 0xFFFFFFFF
    t.check(asked and back == -12 & 0xFFFFFFFF, "there is no memory for a page of ports, and a new port's answer is something else", "-12",
            back - (back >> 31 << 32))


def recounted(t):
    """The table of a guest that has opened and closed as it likes."""
    program, done = pvevents.ports(t.rng, 40), []

    def see(client, regs):
        table = Table(client, regs["rdi"])
        table.compare(t, "a guest that has opened, closed and sent", program.model.ports)
        stack = (regs["rsp"] - 0x800) & ~15
        sent(t, client, stack, table.at)
        no_page(t, client, stack, table.at)
        done.append(True)
        raise Enough

    watched(t, program, {"domain_off": see})
    t.check(done, "the guest does not come to its end", "it powers off", "it does not")


# -- 7.2: upcalls ------------------------------------------------------------------------------------


def upcalls(t):
    """All bits, behind each operation."""
    prints(t, pvupcalls.upcalls(t.rng, 60), "upcalls", "a guest that masks, unmasks, takes and sends")


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


def bits_of(client, shared, info, port):
    """Pending, masked, floor, upcall."""
    return [word(client, shared + at + 8 * (port // 64)) >> port % 64 & 1 for at in (2048, 2560)] + [
        word(client, info + 8) >> port // 64 & 1, client.read(info, 1)[0]]


def by_itself(t, client, stack, at):
    """The functions of 7.2 with all bits that there are: which they leave, and whether whoever waits for the port is told."""
    shared, info, told = word(client, at + P_SHARED), word(client, at + P_INFO), []
    port = 3
    for n in range(16):
        pending, masked, floor, upcall = was = [n >> i & 1 for i in range(4)]
        for name in ("pv_port_raise", "pv_op_unmask"):
            client.write(shared + 2048, struct.pack("<Q", pending << port))
            client.write(shared + 2560, struct.pack("<Q", masked << port))
            client.write(info, struct.pack("<BB6xQ", upcall, 1, floor))
            client.write(stack - 0x200, struct.pack("<Q", port))
            raises, told[:] = name == "pv_port_raise", []
            invoke(t, client, stack - 0x400, name, at, port if raises else stack - 0x200,
                   instead=[("pv_port_tells", lambda regs: told.append([regs["rdi"], regs["rsi"] & 0xFF, regs["rdx"] & 0xFFFFFFFF]))])
            wanted = [1 if raises else pending, masked if raises else 0, floor, upcall]
            if not floor and (not pending and not masked if raises else pending and masked):
                wanted[2:] = 1, 1
            words = f"{'an event' if raises else 'an unmask'} with pending, mask, selector and upcall {was}"
            got = bits_of(client, shared, info, port)
            t.check(got == wanted, f"{words}: something else stands there behind it", wanted, got)
            if raises and not pending:
                t.check([at, 0, port] in told, f"{words}: who polls this port sleeps over it", "pv_port_tells(its domain's ports, 0, 3)",
                        told or "nobody is told")
    for upcall, masked in ((0, 0), (0, 1), (1, 0), (1, 1)):
        client.write(info, bytes([upcall, masked]))
        sleeps = invoke(t, client, stack - 0x400, "pv_may_sleep", info)["rax"] & 0xFF
        words = f"a kernel blocks with {'an upcall' if upcall else 'no upcall'} to come, its mask {masked}"
        t.check(bool(sleeps) != bool(upcall), f"{words}: it {'sleeps over it' if upcall else 'is not let sleep, and something else runs'}", not upcall,
                bool(sleeps))
        t.check(not client.read(info + 1, 1)[0], f"{words}: something else stands in its mask behind it", 0, 1)


def unmask_path(t):
    """An event at each instruction of the way on which a kernel unmasks."""
    program, done = pvupcalls.ways(t.rng), []

    def see(client, regs):
        client.monitor("o /b 0x21 0xff")
        for i, (words, lines) in enumerate(pvupcalls.WAYS.items()):
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
        # Once more, up to where the kernel itself stands.
        client.write(program.at("stack") + 0x1800, struct.pack("<Q", program.at("idle")))
        client.set_reg("rsp", program.at("stack") + 0x1800)
        client.set_reg("rip", program.at("send_here"))
        client.insert(t.symbol("pv_ports_op"))
        client.cont()
        now = client.regs()
        client.remove(t.symbol("pv_ports_op"))
        t.check(now["rip"] == t.symbol("pv_ports_op"), "a kernel sends, and no further", "pv_ports_op", f"{now['rip']:x}")
        by_itself(t, client, (now["rsp"] - 0x800) & ~15, now["rdi"])
        done.append(True)
        raise Enough

    watched(t, program, {lambda p: p.at("idle"): see})
    t.check(done, "the guest does not come to its first line", "idle", "never")


# -- 7.3: two domains --------------------------------------------------------------------------------


NAMES = ("listener", "caller", "third")


def machine_with(t, programs):
    """(modules, elves) for these three."""
    elves = [program.assemble(t.directory, name) for program, name in zip(programs, NAMES)]
    return [module(elf) for elf in elves], elves


def heard(t, run, programs):
    """Each line of each of them, as far as the machine came; the caller's first, whom the others wait for."""
    ended = panic_line(run) or f"{run.end.value}: {run.detail}"
    by_name = {}
    for one in evidence.lives(run):
        by_name.setdefault(one.name, one)
    for program, name in sorted(zip(programs, NAMES), key=lambda pair: pair[1]):
        got = by_name[name].output.decode("ascii", "replace").split() if name in by_name else []
        for i, line in enumerate(program.wanted()):
            t.check(i < len(got), f"the {name} gets no further: nothing comes {program.place(i)}", line, "\n".join([*got[-3:], ended]))
            t.check(line in (got[i], "?"), f"the {name} finds something else, {program.place(i)}", line, got[i])
    t.orderly(run)


def peers(t):
    """What each of them hears."""
    *programs, _ = pvpeers.peers(t.rng)
    modules, elves = machine_with(t, programs)
    heard(t, t.boot("panic=off -- start listener &; start caller; sleep 20; start third; sleep 50; off", modules=modules, elf=elves, limits=LIMITS,
                    icount=True), programs)


def dead(t):
    """Both tables at the caller's end, and the listener's at the end of the next one with its number."""
    *programs, tables = pvpeers.peers(t.rng)
    modules, _ = machine_with(t, programs)
    ended = []

    def see(client, regs):
        number = len(ended)
        ended.append(word(client, regs["rdi"] + D_ID) & 0xFFFF)
        stack = (regs["rsp"] - 0x800) & ~15
        listener = invoke(t, client, stack, "domain_find", pvpeers.LISTENER)["rax"]
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
    except Enough:
        return
    heard(t, run, programs)  # who does not come to an end has found something else on the way
    t.fail("the callers do not come to their ends", "two domains power off", said(run, "start caller"))
