#!/usr/bin/env python3
"""VPIDs on VT-x, watched by Bochs' debugger beside a CPU that forgets nothing by itself.

Bochs forgets all translations at each entry and exit, so no guest would notice. Here each entry is looked at: which VPID, which
nested tables, and what a CPU could still have of them that no INVEPT and no INVVPID has taken since (SDM 3C "Caching
Translation Information"): what nested tables lead to it keeps by their root, whatever the VPID; what the guest's tables lead
to by VPID and root.
"""

import shutil
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from booting import disk_of  # noqa: E402
from engine import BUILD, Engine, assembled, guest  # noqa: E402
from harness import finish, ok  # noqa: E402
from stopped import W, nested_leaves  # noqa: E402
from checks.lab4astate import FIELD, place  # noqa: E402
from zeno.judging import headers  # noqa: E402
from zeno.machines import machine  # noqa: E402
from zeno.machines.symbols import Symbols  # noqa: E402

VMX = Engine("5", "vmx")
LAUNCH, RESUME, INVEPT, INVVPID = b"\x0f\x01\xc2", b"\x0f\x01\xc3", b"\x66\x0f\x38\x80", b"\x66\x0f\x38\x81"
NUMBERS = ("VPID", "SECONDARY_CONTROLS", "SECONDARY_VPID", "EPT_HAS_INVVPID", "EPT_HAS_INVVPID_ALL")
VPID, SECONDARY, HAS_VPID, HAS_INVVPID, HAS_ALL = headers.numbers(("vmm/vmx/vmcs.h",), NUMBERS)
ENGINE, VMCS_AT, COUNT, EPT_CAP = headers.numbers(("vmm/vmx/vmx.h",), (
    "offsetof(struct vcpu, engine_data)", "offsetof(struct vmx, vmcs_at)", "offsetof(struct tags, count)",
    "offsetof(struct vmx_cpu, ept)"))
ROOT = 0xFFFFFFFFFF000
ALL = 2
CODE = 0x400


class Remembers:
    """A boot; `count`: so many VPIDs there are; `lacks`: these bits of IA32_VMX_EPT_VPID_CAP the CPU has not."""

    def __init__(self, commands, modules, count=None, lacks=0):
        disk = disk_of(VMX.kernel, f"panic=off -- {commands}; off", modules)
        self.symbols = Symbols([BUILD / "lab5-solution/zeno.elf"])
        self.count, self.lacks = count, lacks
        self.nested, self.combined, self.owner, self.vpids, self.due = {}, {}, {}, {}, {}
        self.stale, self.shared, self.kept, self.said, self.entries, self.asked = [], [], [], [], 0, 0
        with machine.start(machine="bochs", disk=str(disk), cpu="vmx", mem=128, paused=True,
                           limits=machine.Limits(instructions=None, cpu_seconds=120)) as live:
            self.client = live.gdb()
            self.watch()
            self.client.detach()
            run = live.wait()
            self.text = run.text()
            run.cleanup()

    def watch(self):
        """From the first guest to the last."""
        at = self.symbols.address
        self.client.insert(at("vmx_ask_vpids"))
        self.client.cont()
        points = {}
        for function, code, act in (("vmx_enter", LAUNCH, self.entry), ("vmx_enter", RESUME, self.entry),
                                    ("vmx_forget_translations", INVEPT, self.invept),
                                    ("vmx_forget_translations", INVVPID, self.invvpid)):
            place_of = at(function) + self.client.read(at(function), CODE).index(code)
            points[place_of] = act
        points |= {at("tag_take"): self.take, at("tlb_flush"): self.flush, at("vmx_ask_vpids"): self.ask}
        for address in [*points, at("machine_off")]:
            if address != at("vmx_ask_vpids"):
                self.client.insert(address)
        while (regs := self.client.regs())["rip"] in points:
            points[regs["rip"]](regs)
            self.client.cont()

    def word(self, address):
        return struct.unpack("<Q", self.client.read(address, 8))[0]

    def ask(self, regs):
        """Zeno asks what the CPU has."""
        cpu = self.symbols.address("vmx_cpu") + EPT_CAP
        self.client.write(cpu, struct.pack("<Q", self.word(cpu) & ~self.lacks))

    def take(self, regs):
        if self.count:
            self.client.write(regs["rdi"] + COUNT, struct.pack("<I", self.count))

    def flush(self, regs):
        """Zeno wants a vCPU's translations forgotten."""
        vmcs = self.word(self.word(regs["rdi"] + ENGINE) + VMCS_AT)
        self.due[vmcs] = self.vpids.get(vmcs)
        self.asked += 1

    def operand(self, regs):
        """(Type, the descriptor's first word) of INVEPT and INVVPID; `0x48, register, [rbp - n]` as gcc has it."""
        code = self.client.read(regs["rip"], 10)
        mod, reg, base = code[4] >> 6, code[4] >> 3 & 7, code[4] & 7
        names = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")
        sib = base == 4
        if sib:
            base = code[5] & 7
        offset = int.from_bytes(code[5 + sib:6 + sib] if mod == 1 else code[5 + sib:9 + sib] if mod == 2 else b"", "little",
                                signed=True)
        return regs[names[reg]], self.word(regs[names[base]] + offset)

    def invept(self, regs):
        kind, eptp = self.operand(regs)
        mine = [root for root in self.nested if kind == ALL or root == eptp & ROOT]
        for root in mine:
            del self.nested[root]
        self.combined = {key: value for key, value in self.combined.items() if key[1] not in mine}
        self.said.append(("invept", kind))

    def invvpid(self, regs):
        kind, vpid = self.operand(regs)
        self.combined = {key: value for key, value in self.combined.items() if kind != ALL and key[0] != vpid}
        self.owner = {key: value for key, value in self.owner.items() if kind != ALL and key != vpid}
        self.due = {vmcs: old for vmcs, old in self.due.items() if kind != ALL and old != vpid}
        self.said.append(("invvpid", kind))

    def field(self, vmcs, number):
        at, size = place(number)
        return int.from_bytes(self.client.read(vmcs + at, size, physical=True), "little")

    def entry(self, regs):
        """One entry."""
        vmcs = self.client.param("cpu0.VMX")["vmcsptr"]
        root = self.field(vmcs, FIELD["EPT_POINTER"]) & ROOT
        vpid = self.field(vmcs, VPID) if self.field(vmcs, SECONDARY) & HAS_VPID else 0
        table = lambda at: struct.unpack("<512Q", self.client.read(at, 4096, physical=True))  # noqa: E731
        now = {gfn + i: (mfn + i, bool(flags & W)) for gfn, mfn, size, flags in nested_leaves(table, root)[0] for i in range(size)}
        self.entries += 1
        if not vpid:
            self.combined = {key: value for key, value in self.combined.items() if key[0]}
        elif self.owner.setdefault(vpid, (vmcs, root)) != (vmcs, root):
            self.shared.append(vpid)
        if vpid and vmcs in self.due and self.due[vmcs] == vpid:
            self.kept.append(vpid)
        self.due.pop(vmcs, None)
        for held in (self.nested.setdefault(root, {}), self.combined.setdefault((vpid, root), {})):
            self.stale += [hex(g) for g, (mfn, writable) in held.items()
                           if g not in now or now[g][0] != mfn or (writable and not now[g][1])]
            held.update(now)
        self.vpids[vmcs] = vpid


TURN = "start writes mem=3 -- n"


def right(cpu, what):
    """Nothing stale, and nobody's tag is another one's."""
    ok(cpu.entries > 6 and not cpu.stale and not cpu.shared and not cpu.kept,
       f"{what}: no entry finds what is not true any more, nor another vCPU's", stale=cpu.stale[:8], shared=cpu.shared,
       kept=cpu.kept, entries=cpu.entries, text=cpu.text)


def narrowed(writes):
    """What was removed or allows less is forgotten before the next entry, and a guest that ends leaves nothing behind."""
    for mode in ("nested", "flat"):
        cpu = Remembers(f"start writes mmu={mode} mem=3 & -- l; {TURN}; dirty on d1; {TURN}; dirty count d1; {TURN}; stop d1",
                        [writes])
        right(cpu, f"mmu={mode}")
        ok(all(cpu.vpids.values()) and cpu.said.count(("invvpid", ALL)) == 1 and {kind for name, kind in cpu.said} == {1, ALL},
           f"mmu={mode}: each vCPU has a VPID, and they begin behind an INVVPID of all", vpids=cpu.vpids, said=cpu.said)


def own(writes):
    """What the guest has changed of CR0 by an exit."""
    cpu = Remembers(f"start writes mmu=nested mem=4 & -- l; start writes mmu=nested mem=4 -- c; stop d1", [writes])
    right(cpu, "a guest that writes to CR0")
    ok(cpu.asked == 2 and "2 writes: ended" in cpu.text, "... and has its paging on", asked=cpu.asked, text=cpu.text)
    ok([kind for name, kind in cpu.said if name == "invept"] == [1, 1], "... which costs no INVEPT: one is each guest's first",
       said=cpu.said)


def recycled(writes):
    """More vCPUs than VPIDs."""
    some = "; ".join(["start writes mmu=nested mem=3 & -- l"] + [TURN] * 5 + ["stop d1"])
    cpu = Remembers(some, [writes], count=4)
    right(cpu, "four VPIDs")
    ok(2 < cpu.said.count(("invvpid", ALL)) and max(cpu.vpids.values()) == 3, "four VPIDs: all are forgotten, and they begin anew",
       said=cpu.said, vpids=cpu.vpids)
    cpu = Remembers(some, [writes], count=4, lacks=HAS_ALL)
    right(cpu, "a CPU whose INVVPID takes one at a time")
    ok(cpu.said.count(("invvpid", 1)) > 5 and ("invvpid", ALL) not in cpu.said, "... is told of each that is taken", said=cpu.said)
    cpu = Remembers(some, [writes], lacks=HAS_INVVPID)
    right(cpu, "a CPU without INVVPID")
    ok(not any(cpu.vpids.values()) and cpu.text.count("vmx: this CPU has no VPIDs: each entry forgets all translations") == 1,
       "... has no VPIDs, and a line says so once", vpids=cpu.vpids, text=cpu.text)


def main():
    if not VMX.kernel.is_file():
        print("1..0 # SKIP Lab 4 has no reference here")
        return
    if not shutil.which("bochs"):
        print("1..0 # SKIP Bochs is not installed: make demo installs it")
        return
    writes = assembled("nested/writes.asm")
    narrowed(writes)
    own(writes)
    recycled(writes)
    finish()


main()
