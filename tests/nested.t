#!/usr/bin/env python3
"""Nested tables, read from outside: Python walks them in physical memory, and the p2m beside them.

The machine stands where a guest that has ended is taken apart. What is mapped is the guest's own frame of the p2m, once, with
the rights that it may have, and nothing of the host's; `flat` has all of RAM, 2 MiB at once where frames lie in a row.
"""

import contextlib
import re
import shutil
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from engine import ENDING, LIMIT, PER_BOOT, Engine, assembled, folder, guest  # noqa: E402
from harness import finish, ok, skip  # noqa: E402
from stopped import Stopped, need_qemu, nested_leaves  # noqa: E402
from zeno.judging import headers  # noqa: E402
from zeno.machines import gdbremote, machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

HEADERS = ("vmm/vcpu.h", "vmm/domain.h", "vmm/mem/p2m.h", "kern/frame.h")
(V_ROOT, V_DOMAIN, D_ID, D_P2M, D_RAM, P2M_RAM, P2M_ONES, FRAME_SIZE, FRAME_OWNER, FRAME_TYPE, FRAME_GUEST) = headers.numbers(HEADERS, (
    "offsetof(struct vcpu, root)", "offsetof(struct vcpu, domain)", "offsetof(struct domain, id)",
    "offsetof(struct domain, p2m)", "offsetof(struct domain, ram)", "P2M_RAM", "P2M_ONES", "sizeof(struct frame)",
    "offsetof(struct frame, owner)", "offsetof(struct frame, type)", "FRAME_GUEST"))
P, W, U, PS, A, D, EPT_A, EPT_D = 1, 2, 4, 0x80, 0x20, 0x40, 0x100, 0x200
ADDRESS = (1 << 52) - (1 << 12)
BLOCK = 512
SHADOW = 0x68  # of a VMCB: the interrupt shadow (APM 2 appendix B)
HOLES = [(0xA0, 0xB8), (0xC0, 0x100)]


class Tables(Stopped):
    """Nested tables in a machine's memory."""

    odd = ()

    def leaves(self, root):
        """[(gfn, mfn, frames, flags)] of every leaf below `root`; `odd`: what is not there, and not empty."""
        found, self.odd = nested_leaves(lambda at: self.words(at, BLOCK, physical=True), root)
        return found


class Guest(Tables):
    """A domain that has ended, at the moment when its nested tables are freed."""

    def __init__(self, words, name="hello", mib=128):
        elf = guest(name) if isinstance(name, str) else name
        super().__init__("nested_free", "lab5-solution", "5", cpu="svm", mem=mib, modules=[(str(elf), "")],
                         cmdline=f"panic=off -- start {elf.stem} {words}; start {elf.stem}; off")
        self.vcpu = self.gdb.regs()["rdi"]
        self.domain = self.words(self.vcpu + V_DOMAIN)[0]
        self.root = self.words(self.vcpu + V_ROOT)[0] << 12
        self.ram = self.words(self.domain + D_RAM)[0] >> 12

    def p2m(self, kind=P2M_RAM):
        """{gfn: mfn} of the domain's RAM, or of another type of frame, as its p2m has it."""
        found = {}
        for i, top in enumerate(self.words(self.words(self.domain + D_P2M)[0], BLOCK)):
            for j, leaf in enumerate(self.words(top, BLOCK) if top else ()):
                for k, entry in enumerate(self.words(leaf, BLOCK) if leaf else ()):
                    if entry >> 32 & 0xFF == kind:
                        found[(i * BLOCK + j) * BLOCK + k] = entry & 0xFFFFFFFF
        return found

    def owners(self, frames):
        """What the frame table says of these machine frames: (type, owner) of each."""
        table = self.words(self.at("frames"))[0]
        low, high = min(frames), max(frames)
        raw = self.gdb.read(table + low * FRAME_SIZE, (high + 1 - low) * FRAME_SIZE)
        at = [(m - low) * FRAME_SIZE for m in frames]
        return {(raw[i + FRAME_TYPE], int.from_bytes(raw[i + FRAME_OWNER:i + FRAME_OWNER + 2], "little")) for i in at}


def agrees(host, what):
    """Every page that the CPU can reach is the p2m's, and the guest's own in the frame table; or of ones, in the hole."""
    p2m, leaves = host.p2m(), host.leaves(host.root)
    ones = host.p2m(P2M_ONES)
    ok(set(ones) == {g for first, end in HOLES for g in range(first, end)} and len(set(ones.values())) == 1
       and set(host.words(ones[0xF0] << 12, BLOCK, physical=True)) == {2 ** 64 - 1},
       f"{what}: behind the hole there is one frame, of ones", ones=ones)
    hole, leaves = [leaf for leaf in leaves if leaf[0] in ones], [leaf for leaf in leaves if leaf[0] not in ones]
    ok({(mfn, size, flags & ~A) for _, mfn, size, flags in hole} <= {(ones[0xF0], 1, P | U)},
       f"{what}: nobody writes to it", hole=hole)
    mapped = {gfn + i: mfn + i for gfn, mfn, size, _ in leaves for i in range(size)}
    wrong = [hex(g) for g, m in mapped.items() if p2m.get(g) != m]
    ok(mapped and not wrong, f"{what}: what is mapped is the p2m's", wrong=wrong[:8])
    ok(not host.odd, f"{what}: what is not mapped is empty", odd=host.odd[:8])
    ok(len(mapped) == sum(size for _, _, size, _ in leaves), f"{what}: no page twice")
    domain = int.from_bytes(host.gdb.read(host.domain + D_ID, 2), "little")
    owners = host.owners(set(mapped.values()))
    ok(owners == {(FRAME_GUEST, domain)}, f"{what}: no frame of the host's, nor another guest's", owners=owners)
    flags = {flags & ~PS & ~A & ~D for _, _, _, flags in leaves}
    ok(flags == {P | W | U}, f"{what}: a guest may do with its RAM what it likes", flags=flags)
    return p2m, mapped, leaves


def flat():
    """All of RAM, the holes of a PC aside."""
    host = Guest("mmu=flat mem=21")
    p2m, mapped, leaves = agrees(host, "flat")
    wanted = {g for g in range(21 << 8) if not any(first <= g < end for first, end in HOLES)}
    ok(set(p2m) == wanted == set(mapped), "flat: all of RAM is mapped, and no hole is",
       missing=len(wanted - set(mapped)), more=len(set(mapped) - wanted))
    large = [gfn for gfn, _, size, _ in leaves if size == BLOCK]
    ok(large == list(range(BLOCK, (20 << 8), BLOCK)) and all(size in (1, BLOCK) for _, _, size, _ in leaves),
       "flat: 2 MiB at once where no hole is, 4 KiB elsewhere", large=large)
    host.end()


SVM = Engine("5", "svm", "mmu=nested")
VMX = Engine("5", "vmx", "mmu=nested")
TOUCHED = re.compile(r"^d\d+: (\d+) frames touched of (\d+), (\d+) violations$", re.M)


def demand():
    """Nothing that nobody has touched; a guest of 1 GiB costs what one of 8 MiB does."""
    host = Guest("mmu=nested mem=8", "long")
    p2m, mapped, _ = agrees(host, "nested")
    ok(set(mapped) <= set(p2m) and len(p2m) < 64, "nested: what nobody has touched has no frame", frames=len(p2m))
    host.end()
    text = SVM.host([word for mib in (8, 1024) for word in (f"start long mmu=nested mem={mib}", "violations", "nested")],
                    ["long"])
    found = TOUCHED.findall(text)
    pages = re.findall(r"(\d+) pages of 4 KiB", text)
    ok(len(found) == 2 and found[0][0] == found[1][0] and found[0][2] == found[1][2] and found[1][1] == "262144",
       "nested: 1 GiB in a machine of 128 MiB, for a guest that needs 12 frames of it", text=text)
    ok(pages == [found[0][2]] * 2, "nested: each violation has mapped one page", text=text)
    text = SVM.host(["start writes mmu=nested mem=1024 -- e", "start hello mmu=nested", "violations"],
                    [assembled("nested/writes.asm"), "hello"])
    ok("d1 writes: stopped: the machine has no frame left for its memory" in text and "hello: ended: exit code 0" in text,
       "nested: a guest that touches more than the machine has ends, and the next one runs", text=text)
    text = SVM.host(["start writes mmu=nested mem=123 & -- e", "sleep 500", "start writes mmu=nested -- t"], [assembled("nested/writes.asm")],
                    icount=True)
    ok(re.search(r"^d1 writes: stopped: the machine has no frame left, and it has 30\d\d\d of them$", text, re.M)
       and "d2 writes: ended: exit code 0" in text, "nested: where two have all that there is, the one with most of it ends", text=text)


def larger():
    """Pages of 2 MiB and 1 GiB, where a first touch gives so much, and what a write-protected page makes of one."""
    host = Guest("mmu=nested page=2m", "os")
    p2m, _, leaves = agrees(host, "nested, 2 MiB")
    large = [gfn for gfn, _, size, _ in leaves if size == BLOCK]
    ok(large == [512, 1024, 1536] and len(p2m) > 3 * BLOCK, "nested: a first touch gives 2 MiB", large=large)
    host.end()


def giant():
    """One page of 1 GiB, for a write in it, in a machine that has so much in a row."""
    host = Guest("mmu=nested mem=2048 page=1g -- g", assembled("nested/writes.asm"), 3072)
    large = [(gfn, mfn % BLOCK ** 2) for gfn, mfn, size, _ in host.leaves(host.root) if size == BLOCK ** 2]
    ok(large == [(BLOCK ** 2, 0)], "nested: a first touch gives 1 GiB", large=large)
    host.end()


VMRUN = b"\x0f\x01\xd8"
FIRST_ASID = 2  # 0 is the host's, 1 of structures that are no vCPU's
ASID, TLB_CONTROL, N_CR3 = headers.numbers(("vmm/svm/vmcb.h",), [
    f"offsetof(struct vmcb, {name})" for name in ("asid", "tlb_control", "n_cr3")])


class Memory(Tables):
    """A CPU that forgets nothing by itself: what it may hold at each VMRUN, by ASID; QEMU's flushes all at each entry."""

    def __init__(self, commands, modules):
        super().__init__("domain_create", "lab5-solution", "5", cpu="svm", mem=128,
                         cmdline=f"panic=off -- {commands}; off", modules=[(str(elf), "") for elf in modules])
        at = self.at("svm_enter")
        self.vmrun = at + self.gdb.read(at, 256).index(VMRUN)
        self.held, self.owner, self.last, self.stale, self.shared, self.flushes, self.all = {}, {}, {}, [], [], {}, 0
        self.gdb.insert(self.vmrun)
        self.end_at = self.at("machine_off")
        self.gdb.insert(self.end_at)
        while self.gdb.cont() and self.gdb.regs()["rip"] == self.vmrun:
            self.look(self.gdb.regs()["rax"])
        self.end()

    def look(self, vmcb):
        """One entry."""
        asid = self.words(vmcb + ASID, physical=True)[0] & 0xFFFFFFFF
        control = self.words(vmcb + TLB_CONTROL, physical=True)[0] & 0xFF
        root = self.words(vmcb + N_CR3, physical=True)[0]
        now = {gfn + i: (mfn + i, bool(flags & W)) for gfn, mfn, size, flags in self.leaves(root) for i in range(size)}
        if control:
            self.all += 1
            self.held, self.owner = {}, {}
        self.flushes[root] = self.flushes.get(root, 0) + bool(control or self.last.get(root) != asid)
        self.last[root] = asid
        held = self.held.setdefault(asid, {})
        self.shared += [hex(root)] if self.owner.setdefault(asid, root) != root else []
        self.stale += [hex(g) for g, (mfn, writable) in held.items()
                       if g not in now or now[g][0] != mfn or (writable and not now[g][1])]
        held.update(now)


def forgets():
    """What was removed or allows less is forgotten before the next entry; what only became more is not."""
    writes = assembled("nested/writes.asm")
    for mode in ("nested", "nested page=2m"):
        turn = "start writes -- n"  # a turn of the first one's before it
        cpu = Memory(f"start writes mmu={mode} & -- l; {turn}; dirty on d1; {turn}; dirty count d1; {turn}; stop d1", [writes])
        ok(not cpu.stale and not cpu.shared, f"mmu={mode}: no entry finds what is not true any more, nor another vCPU's",
           stale=cpu.stale[:8], shared=cpu.shared[:8])
        # Each turn of the first one's is a chance of the clock's: what is wrong without a flush is told above, if it ran.
        ok(max(cpu.flushes.values()) <= 3, f"mmu={mode}: at the start and when writes were taken away, and no more often",
           flushes=cpu.flushes)
    cpu = Memory("; ".join(["start writes mmu=nested & -- l"] + ["start writes mmu=nested -- n"] * 20 + ["stop d1"]), [writes])
    ok(not cpu.stale and not cpu.shared and 1 < cpu.all < 6, "more guests than ASIDs: all are forgotten, and they begin anew",
       stale=cpu.stale[:8], shared=cpu.shared[:8], all=cpu.all)
    cpu = Memory("start writes &; vmrun-break d1 1 1; start writes -- n", [writes])
    ok(list(cpu.last.values())[-1] == FIRST_ASID and cpu.all and not cpu.stale,
       "one whose entry is refused may have forgotten nothing: the next one begins anew", last=cpu.last, all=cpu.all)


def logged():
    """Frames written, whoever writes, and by whatever instruction: the same run with and without these writes."""
    elf = assembled("nested/writes.asm")
    text = SVM.host([word for letter in "nrwi" for word in (f"start writes mmu=nested log=1 -- {letter}", "dirty count")], [elf])
    counts = [int(n) for n in re.findall(r"^d\d+: (\d+) frames written$", text, re.M)]
    ok(len(counts) == 4 and counts[0] > 0, "log: it counts", text=text)
    ok([n - counts[0] for n in counts] == [0, 0, 3, 2], "log: five pages read, three written, two written by Zeno",
       counts=counts, text=text)
    for mode in ("nested", "nested page=2m"):
        text = SVM.host([f"start writes mmu={mode} & -- l", "start hello", "nested d1", "dirty on d1", "dirty count d1",
                         "start hello", "dirty count d1", "start hello", "dirty off d1", "nested d1", "stop d1"], [elf, "hello"],
                        icount=True)
        counts = [int(n) for n in re.findall(r"^d1: (\d+) frames written$", text, re.M)]
        ok(counts == [0, 1, 1], f"log: one that writes to one page for ever, mmu={mode}", counts=counts, text=text)


def nowhere():
    """What is nobody's reads as ones, costs no frame, and is told in words."""
    text = SVM.host(["start writes mmu=nested -- n", "violations", "start writes mmu=nested -- b", "violations"],
                    [assembled("nested/writes.asm")])
    found = TOUCHED.findall(text)
    ok(len(found) == 2 and int(found[1][0]) == int(found[0][0]) + 1 and int(found[1][2]) == int(found[0][2]) + 2,
       "nested: a read of nothing is a violation and no frame", text=text)
    ok("the last one: a read at guest-physical 200000: no entry maps it" in text, "nested: a violation in words", text=text)


def hole():
    """What is nobody's below 1 MiB reads as ones without an exit; writes are dropped, and counted."""
    elf = assembled("nested/hole.asm")
    for engine, where in ((SVM, "qemu"), (VMX, "bochs"))[:2 if shutil.which("bochs") else 1]:
        for mode in ("flat", "nested"):
            text = engine.host([f"start hole mmu={mode}", "exits"], [elf], where)
            exits = re.search(r"^ *(\d+)  memory access", text, re.M)
            ok("hole: ended: exit code 0" in text and " 133 writes to what is no memory were dropped" in text,
               f"{where}, mmu={mode}: the hole reads as ones, whatever is written there", text=text)
            ok(exits and int(exits[1]) < 150, f"{where}, mmu={mode}: its 720,896 reads are no exits", text=text)


DAMAGE = re.compile(r"^damage: level (\d), entry (\w+): not seen are bits (\w+)$", re.M)


def audited(engine, where, starts, guests, marks):
    """
    The auditor agrees, and sees each bit of an entry, but what the CPU marks and what gives less. `marks`: A and D.

    Tables made by violation are the host's, like any frame of its own: it may miss that an entry leads to an empty one.
    """
    for n, start in enumerate(starts):
        text = engine.host([f"start {start}", "audit", f"damage {n}", f"damage {n + 9}", "audit"], guests, where)
        found = [(int(level), int(entry, 16), int(bits, 16)) for level, entry, bits in DAMAGE.findall(text)]
        allowed = [marks[0] if level > 1 and not entry & PS else marks[0] | marks[1] | entry & W for level, entry, _ in found]
        ok(len(found) == 8 and text.count("audit: 0 differences") == 2, f"{engine.cpu}, {start}: the auditor agrees", text=text)
        missed = [0 if "flat" in start or level == 1 or entry & PS else ADDRESS for level, entry, _ in found]
        ok([bits & ~m for (_, _, bits), m in zip(found, missed)] == allowed, f"{engine.cpu}, {start}: each bit that matters is seen", text=text)
        ok(text.count("a page that is there twice: seen") == text.count("a page that is another one: seen") == 2,
           f"{engine.cpu}, {start}: so is a page too many, and another one's", text=text)
        ok(text.count(f"lost: {'seen' if 'flat' in start else 'not seen'}") == 2,
           f"{engine.cpu}, {start}: a page that is lost comes back, or is missed", text=text)


def linux_image():
    """A setup header and eight sectors of `hlt`: enough for the loader."""
    image = bytearray(b"\xf4" * 5120)
    for at, field in ((0x1F1, b"\1"), (0x1F4, struct.pack("<I", 256)), (0x1FE, b"\x55\xaa\xeb\x66HdrS\x0f\x02"),
                      (0x211, b"\1"), (0x236, b"\0\0"), (0x238, struct.pack("<I", 255)),
                      (0x258, struct.pack("<QI", 0x100000, 4096))):
        image[at:at + len(field)] = field
    path = folder() / "bz"
    path.write_bytes(image)
    return path


def starved():
    """No frame of the machine is left, from the first, second, ... on that a start asks for: one line each time."""
    bz, times = linux_image(), 12
    commands = [word for kind in ("hello", "bz boot=linux") for word in [f"start {kind} mmu=nested"] * times]
    host = Stopped("domain_create", "lab5-solution", "5", cpu="svm", mem=128, modules=[(str(guest("hello")), ""), (str(bz), "")],
                   cmdline=f"panic=off -- {'; '.join(commands)}; off")
    create, load, give, ends = (host.at(name) for name in ("domain_create", "load_guest", "frame_list_alloc", "machine_off"))
    for address in (create, load, give, ends):
        host.gdb.insert(address)
    started, left = 0, 1000
    while host.gdb.cont() and (regs := host.gdb.regs())["rip"] != ends:
        if regs["rip"] == create:
            left = 1000
        elif regs["rip"] == load:
            left = started % times
            started += 1
        elif left:
            left -= 1
        else:
            host.gdb.set_reg("rax", 0)
            host.gdb.set_reg("rip", host.words(regs["rsp"])[0])
            host.gdb.set_reg("rsp", regs["rsp"] + 8)
    host.live.stop()
    result = host.live.wait()
    text = result.text()
    result.cleanup()
    ok(started == 2 * times and "panic" not in text and all(
        text.count(f"{name}: not a guest that can be started: the machine has no frame left") > 2 for name in ("hello", "bz")),
       "nested: whichever frame the machine has not, a start ends in a line", started=started, text=text)


GUESTS = ("hello", "sieve", "tables", "crowded", "traps", "audit", "paging", "pager", "os", "pc", "long")
ON_BOCHS = ("hello", "paging", "long")


def behind_sti():
    """QEMU's VMRUN does not load the interrupt shadow, so svm opens no window in it; then an interrupt may come later."""
    text = SVM.host([SVM.start("behind")], [assembled("nested/behind.asm")])
    ok(re.search(r"^d1\| [BL]$", text, re.M) and "behind: ended: exit code 0" in text,
       "an exit behind sti, at the next instruction's fetch, lets no interrupt in there", text=text)
    seen = 0
    with machine.start(kernel=SVM.kernel, paused=True, interactive=True, idle=False, modules=[(assembled("nested/behind.asm"), "")],
                       limits=LIMIT, cpu="svm", cmdline=f"panic=off -- {SVM.start('behind')}; off") as live:
        gdb, enter = live.gdb(), Symbols([SVM.kernel.with_name("zeno.elf")]).address("svm_enter")
        gdb.insert(enter)
        with contextlib.suppress(gdbremote.Gone):
            while gdb.cont():
                if gdb.read(gdb.regs()["rsi"] + SHADOW, 1, physical=True)[0] & 1 and seen < 2:
                    live.send(b"x")  # the host's UART has something to say at VMRUN
                    time.sleep(.1)
                    seen += 1
        done = live.wait()
        text = done.text().replace("\r", "")
        done.cleanup()
    ok(seen and re.search(r"^d1\| [BL]$", text, re.M) and "behind: ended: exit code 0" in text,
       "nor does an interrupt of the host's, before that instruction", seen=seen, text=text)


def guests():
    """Guests print what the bare machine prints; the hostile ones are contained."""
    SVM.same("qemu", GUESTS)
    SVM.same("qemu", ("traps", "os", "long"), "poison=1 audit=4")
    writes = assembled("nested/writes.asm")
    audited(SVM, "qemu", ("long mmu=nested", "long mmu=flat", "writes mmu=nested log=1 -- r", "os mmu=nested page=2m"),
            ("long", "os", writes), (A, D))
    SVM.contains("qemu", ENDING)
    if shutil.which("bochs"):
        SVM.same("bochs", ON_BOCHS)
        VMX.same("bochs", ("hello", "tables", "audit", "paging", "long"), "audit=16")
        audited(VMX, "bochs", ("writes mmu=nested log=1 -- r", "writes mmu=flat -- n"), (writes,), (EPT_A, EPT_D))
        VMX.contains("bochs", ENDING[:PER_BOOT])
    else:
        skip("the same on Bochs", "Bochs is not installed: make demo installs it")


def main():
    need_qemu()
    flat()
    demand()
    larger()
    giant()
    logged()
    forgets()
    nowhere()
    hole()
    starved()
    behind_sti()
    guests()
    finish()


main()
