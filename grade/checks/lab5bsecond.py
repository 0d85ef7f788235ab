"""Lab 5B, exercise 5.5: a second CPU, from INIT to its first instruction.

Equivalent: a fresh guest whose output the manual fixes. Witnessed: the functions by themselves, with states that are made up.
"""

import struct

from zeno.guests import startups
from zeno.judging import evidence, headers

from .guests import module
from .lab4 import said
from .lab5 import LIMITS, Calls, V_NEXT, words
from .lab5a import Ends, Touching

OPTIONS = "platform=pc-apic vcpus=2"
HEADERS = ("vmm/vcpu.h", "vmm/x86/state.h")
STATE = tuple(f"offsetof(struct cpu_state, {name})" for name in (
    "version", "gpr", "rip", "rflags", "seg", "ldtr", "tr", "gdtr", "idtr", "cr0", "cr2", "dr", "efer", "pdpte", "pat", "apic_base", "tsc_offset",
    "xcr0", "event", "activity"))
(S_VERSION, S_GPR, S_RIP, S_RFLAGS, S_SEG, S_LDTR, S_TR, S_GDTR, S_IDTR, S_CR0, S_CR2, S_DR, S_EFER, S_PDPTE, S_PAT, S_APIC, S_TSC, S_XCR0,
 S_EVENT, S_ACTIVITY, S_SIZE, V_SIGNALS, V_SIPI, INIT, SIPI, NMI, WAITS, HALTED, RUNS) = headers.numbers(HEADERS, STATE + (
     "sizeof(struct cpu_state)", "offsetof(struct vcpu, signals)", "offsetof(struct vcpu, sipi)", "SIGNAL_INIT", "SIGNAL_SIPI", "SIGNAL_NMI",
     "ACTIVITY_WAITS_FOR_SIPI", "ACTIVITY_HALTED", "ACTIVITY_RUNS"))
ALL_ONES = (1 << 64) - 1


def guest(t):
    """It starts its second CPU again and again, and prints what that one finds. What nobody has fetched is spoilt (poison=1)."""
    program = startups.Starting(t.rng, 4)
    elf = program.assemble(t.directory, "starts")
    result = t.boot(f"panic=off poison=1 -- start starts {OPTIONS}; off", modules=[module(elf)], elf=[elf], limits=LIMITS)
    found, life = evidence.lives(result), said(result, f"start starts {OPTIONS}")
    t.check(found, "a guest with two CPUs does not start", "it starts", life)
    got = found[0].output.decode("ascii", "replace").split()
    for i, line in enumerate(program.expected):
        t.check(i < len(got), "a guest with two CPUs gets no further: its second one does not begin, or not where it should", line,
                "\n".join([*got[-3:], life]))
        t.check(got[i] == line, f"what the second CPU finds at its first instruction is another thing, in line {i + 1}", line, got[i])
    t.check("exit code 0" in life, "a guest with two CPUs does not come to its end", "exit code 0", life)
    t.orderly(result)


def expected(old):
    """The state behind INIT, of what this one was."""
    new = bytearray(S_SIZE)
    def put(form, at, *values):
        struct.pack_into(form, new, at, *values)
    put("<I", S_VERSION, struct.unpack_from("<I", old, S_VERSION)[0])
    put("<QQ", S_RIP, 0xFFF0, 2)
    for i in range(6):
        put("<HHIQ", S_SEG + 16 * i, 0, 0x93, 0xFFFF, 0)
    put("<HHIQ", S_SEG + 16, 0xF000, 0x9B, 0xFFFF, 0xFFFF0000)
    put("<HHIQ", S_LDTR, 0, 0x82, 0xFFFF, 0)
    for at in (S_GDTR, S_IDTR):
        put("<QH", at, 0, 0xFFFF)
    put("<Q", S_CR0, 0x60000010)
    put("<QQ", S_DR + 48, 0xFFFF0FF0, 0x400)
    put("<Q", S_PAT, 0x0007040600070406)
    put("<Q", S_APIC, *struct.unpack_from("<Q", old, S_APIC))
    put("<Q", S_TSC, *struct.unpack_from("<Q", old, S_TSC))
    put("<Q", S_XCR0, 1)
    return bytes(new)


NAMES = sorted((value, name) for name, value in {
    "the version": S_VERSION, "a general register": S_GPR, "rip": S_RIP, "rflags": S_RFLAGS, "a segment": S_SEG, "ldtr": S_LDTR, "tr": S_TR,
    "gdtr": S_GDTR, "idtr": S_IDTR, "cr0": S_CR0, "cr2, cr3, cr4 or cr8": S_CR2, "a debug register": S_DR, "efer": S_EFER,
    "a PAE entry or an MSR": S_PDPTE, "the page attribute table": S_PAT, "the APIC's base": S_APIC, "the TSC's offset": S_TSC, "xcr0": S_XCR0,
    "an event on its way": S_EVENT, "the activity, or what holds events back": S_ACTIVITY}.items())


def reset(t, client, call):
    """startup_reset() on what is made up."""
    at = call.stack - 0x600
    old = bytearray(t.rng.getrandbits(8) for _ in range(S_SIZE))
    version, = headers.numbers(HEADERS, ("CPU_STATE_VERSION",))
    struct.pack_into("<I", old, S_VERSION, version)
    client.write(at, bytes(old))
    call("startup_reset", at)
    got, wanted = bytearray(client.read(at, S_SIZE)), expected(bytes(old))
    edx, = struct.unpack_from("<Q", got, S_GPR + 16)
    t.check(edx >> 32 == 0 and edx & 0xF00, "behind INIT, EDX does not say which CPU this is", "family, model, stepping", f"{edx:x}")
    struct.pack_into("<Q", got, S_GPR + 16, 0)
    # Not looked at: TR, of which the table says as much as of LDTR, and padding.
    got[S_TR:S_TR + 16] = bytes(16)
    for i in range(0, S_SIZE, 8):
        if got[i:i + 8] != wanted[i:i + 8]:
            name = [name for value, name in NAMES if value <= i][-1]
            t.fail(f"startup_reset() leaves {name} otherwise than INIT does (byte {i} of struct cpu_state)", wanted[i:i + 8].hex(),
                   bytes(got[i:i + 8]).hex())


def signals(t, client, call, vcpu):
    """startup_sipi() and startup_take() on the second CPU, in every state."""
    def put(signals_, activity, sipi=0):
        client.write(vcpu + V_SIGNALS, bytes([signals_]))
        client.write(vcpu + S_ACTIVITY, bytes([activity]))
        client.write(vcpu + V_SIPI, bytes([sipi]))

    def now():
        return client.read(vcpu + V_SIGNALS, 1)[0], client.read(vcpu + S_ACTIVITY, 1)[0], client.read(vcpu + V_SIPI, 1)[0]

    for noted, activity, takes, what in (
            (0, WAITS, True, "to a CPU that waits for it"), (0, RUNS, False, "to a CPU that runs"), (0, HALTED, False, "to a CPU that sleeps"),
            (INIT, RUNS, True, "behind an INIT that has not been taken"), (INIT | NMI, WAITS, True, "behind an INIT and an NMI"),
            (SIPI, WAITS, False, "behind another one"), (INIT | SIPI, RUNS, False, "behind an INIT and another one"),
            (NMI, RUNS, False, "to a CPU that an NMI waits for")):
        first, vector = t.rng.sample(range(1, 256), 2)
        put(noted, activity, first)
        call("startup_sipi", vcpu, vector)
        wanted = (noted | SIPI if takes else noted, activity, vector if takes else first)
        t.check(now() == wanted, f"a start-up IPI {what}: what is noted is another thing (signals, activity, vector)", wanted, now())
    for noted, activity in ((SIPI, WAITS), (SIPI | NMI, WAITS), (NMI, RUNS), (0, HALTED), (INIT | SIPI, RUNS), (INIT | NMI, HALTED)):
        vector = t.rng.randrange(1, 256)
        put(noted, activity, vector)
        before = client.read(vcpu, S_SIZE)
        call("startup_take", vcpu)
        left, runs, _ = now()
        t.check(left == noted & NMI, "behind the start of its turn the second CPU's signals are others", noted & NMI, left)
        if noted & INIT and not noted & SIPI:
            rip, = words(client, vcpu + S_RIP)
            t.check((runs, rip) == (WAITS, 0xFFF0), "INIT has come, and the second CPU does not wait, or not as INIT leaves it (activity, rip)",
                    (WAITS, 0xFFF0), (runs, rip))
            continue
        if not noted & SIPI:
            t.check(client.read(vcpu, S_SIZE) == before, "no signal has come that is its own, and the second CPU's state has changed",
                    "the same", "another one")
            continue
        sel, attr, limit, base = struct.unpack("<HHIQ", client.read(vcpu + S_SEG + 16, 16))
        rip, = words(client, vcpu + S_RIP)
        t.check((sel, limit, base, rip, runs) == (vector << 8, 0xFFFF, vector << 12, 0, RUNS) and attr & 0xFFE == 0x9A,
                "the second CPU does not begin where its start-up IPI says (CS, its limit, base and rights, rip, activity)",
                f"{vector << 8:x} ffff {vector << 12:x} 9b 0 {RUNS}", f"{sel:x} {limit:x} {base:x} {attr:x} {rip:x} {runs}")


def by_itself(t):
    """All three, at the end of a guest that leaves its second CPU alone."""
    elf = Touching(t.rng, 4).assemble(t.directory, "touches")

    def judge(domain, run, regs):
        call = Calls(t, domain.client, regs)
        vcpu, = words(domain.client, domain.first + V_NEXT)
        reset(t, domain.client, call)
        signals(t, domain.client, call, vcpu)

    Ends(t, elf, OPTIONS, judge)
