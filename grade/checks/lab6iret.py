"""Lab 6A, exercise 6.3: iret, and the guest's two roots. What the checks of 6.1 and 6.2 have of the same kind is in lab6a.py."""

import re
import struct

from zeno.guests import pv
from zeno.judging import evidence

from .guests import module
from .lab4 import said, word
from .lab6a import (
    C_JUMPED, C_SIZE, CS, FEW, IF, OWN, P_KERNEL_ROOT, P_USER, P_USER_ROOT, SS, V_ROOT, Enough, invoke, prints,
    random_registers, same, Vcpu, watched,
)


def user(t):
    """Its kernel prints what comes from its user."""
    prints(t, pv.kernel_and_user(t.rng, 10), "user", "a kernel whose user calls and faults, and which prints each frame of them,")


def one_iret(t, client, vcpu, stack, program, root, user_root):
    """pv_call_iret() with a frame at random."""
    rng, call = t.rng, stack - 0x400
    at = program.at("stack") + 0x1800 + 8 * rng.randrange(32)
    gpr = random_registers(t) | {"rsp": at}
    frame = [rng.getrandbits(64) for _ in range(9)]
    frame[3] = rng.choice((0, 0x100, frame[3] & ~0x100, frame[3] | 0x100))
    frame[5] = frame[5] & ~3 | rng.choice((0, 1, 2, 3, 3, 3))
    client.write(at, struct.pack("<9Q", *frame))
    client.write(call, bytes(C_SIZE))
    client.write(vcpu.pv + P_USER_ROOT, struct.pack("<Q", user_root))
    vcpu.put(gpr, rng.getrandbits(64), rng.getrandbits(22), {}, 0, rng.randrange(2))
    client.write(vcpu.at + V_ROOT, struct.pack("<Q", root))
    rax, r11, rcx, flags, rip, cs, rflags, rsp, ss = frame
    to_user = cs & 3 == 3
    regs, swapped = turned(t, client, stack, "pv_call_iret", vcpu.at, call)
    who = f"an iret to {'its user' if to_user else 'the kernel'}, RPL {cs & 3}, flags {flags & 0x100:x}"
    wanted = gpr | {"rax": rax, "rsp": rsp, "rip": rip, "cs": cs & 0xFFFF | 3, "ss": ss & 0xFFFF | 3, "rflags": rflags,
                    "user": int(to_user), "root": user_root if to_user else root, "upcall mask": int(not rflags & IF)}
    if not flags & 0x100:
        wanted |= {"r11": r11, "rcx": rcx}
    now = vcpu.now()
    if flags & 0x100:  # Xen's header: cs and ss are discarded, as sysret does; or, as here, they are the frame's
        wanted |= {name: flat for name, flat in (("cs", CS), ("ss", SS)) if now[name] == flat}
    same(t, wanted, now, who, OWN | IF)
    wanted_root = user_root if to_user else root
    t.check(regs["cr3"] >> 12 == wanted_root, f"{who}: the CPU has another root", f"{wanted_root:x}", f"{regs['cr3'] >> 12:x}")
    t.check(swapped == int(to_user), f"{who}: the two bases of GS are exchanged", f"{int(to_user)} times", swapped)
    t.check(client.read(call + C_JUMPED, 1)[0], f"{who}: the registers are the frame's, and nobody is told", "jumped", "not")
    client.write(vcpu.pv + P_USER, b"\0")
    client.write(vcpu.at + V_ROOT, struct.pack("<Q", root))
    client.set_reg("cr3", root << 12)


def one_switch(t, client, vcpu, stack, was, to, roots):
    """pv_switch_root() from here to there; roots[0] is the kernel's."""
    client.write(vcpu.pv + P_USER, bytes([was]))
    client.write(vcpu.at + V_ROOT, struct.pack("<Q", t.rng.getrandbits(20)))
    client.write(vcpu.pv + P_USER_ROOT, struct.pack("<Q", roots[1]))
    regs, swapped = turned(t, client, stack, "pv_switch_root", vcpu.at, to)
    who = f"from {('the kernel', 'its user')[was]} to {('the kernel', 'its user')[to]}"
    same(t, {"user": to, "root": roots[to]}, vcpu.now(), who)
    t.check(regs["cr3"] >> 12 == roots[to], f"{who}: the CPU has another root", f"{roots[to]:x}", f"{regs['cr3'] >> 12:x}")
    t.check(swapped == (was != to), f"{who}: the two bases of GS are exchanged", f"{int(was != to)} times", swapped)
    client.write(vcpu.pv + P_USER, b"\0")
    client.write(vcpu.at + V_ROOT, struct.pack("<Q", roots[0]))
    client.set_reg("cr3", roots[0] << 12)


def turned(t, client, stack, name, *args):
    """As invoke(), and how often pv_swap_gs() was called."""
    calls = []
    return invoke(t, client, stack, name, *args, instead=[("pv_swap_gs", calls.append)]), len(calls)


def iret_parts(t):
    """pv_call_iret() by itself."""
    program, done = pv.kernel_and_user(t.rng, 4), []

    def see(client, regs):
        stack = (regs["rsp"] - 0x800) & ~15
        vcpu = Vcpu(client, regs["rdi"])
        root, user_root = (word(client, vcpu.pv + at) for at in (P_KERNEL_ROOT, P_USER_ROOT))
        t.check(regs["cr3"] >> 12 == root and root != user_root, "the guest's two roots are not two", "two", f"{root:x}, {user_root:x}")
        for _ in range(24):
            one_iret(t, client, vcpu, stack, program, root, user_root)
        for was, to in ((0, 0), (0, 1), (1, 0), (1, 1)):
            one_switch(t, client, vcpu, stack, was, to, (root, user_root))
        done.append(True)
        raise Enough

    watched(t, program, {"pv_call_iret": see})
    t.check(done, "no iret of a kernel's comes to pv_call_iret()", "each", "none")


ROOTLESS = re.compile(r"rootless: stopped: [^\[]{0,400}\b(iret|root|page tables?)\b")


def rootless(t):
    """An iret to a user that has no page tables is its guest's end; and the next guest is well."""
    program = pv.rootless(t.rng)
    elf = program.assemble(t.directory, "rootless")
    other = pv.calls(t.rng, 2, 2)
    after = other.assemble(t.directory, "after")
    run = t.boot("panic=off -- start rootless; start after; off", modules=[module(elf), module(after)], elf=[elf], limits=FEW)
    t.orderly(run)
    life = said(run, "start rootless")
    lives = [one.output.decode("ascii", "replace").split() for one in evidence.lives(run)]
    t.check(lives and lives[0] == program.wanted(), "a kernel goes to itself by an iret, before it goes to its user, and does not come there",
            "\n".join(program.wanted()), "\n".join(lives[0][:4] if lives else ()) or life)
    t.check(ROOTLESS.search(life), "a kernel goes to its user, which has no root", "stopped: a line that speaks of the iret or the root",
            life)
    got = lives[1] if len(lives) > 1 else []
    missed = [(i, *pair) for i, pair in enumerate(zip(other.wanted(), [*got, *[""] * 99])) if pair[0] != pair[1]]
    t.check(not missed, f"a guest behind it is not well: line {missed and missed[0][0] + 1} of its {len(other.expected)}",
            missed and missed[0][1], missed and missed[0][2])
