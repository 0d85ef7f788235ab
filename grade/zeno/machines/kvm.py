"""QEMU with the VT-x of the machine that it runs on, by Linux' KVM: for Lab 4, a person, and speed alone.

Zeno is KVM's guest there, and its own guests are guests of a guest: `nested` is KVM's word for that. Nothing is graded so: no
plugin counts, the debugger of Bochs is not there, and which VT-x it is the machine says. The command line is qemu.py's.
"""

import os
from pathlib import Path

from . import qemu
from .machine import MachineMissing

INSTEAD = "Bochs has VT-x everywhere: make bochs LAB=4"


def refusal(root=Path("/")):
    """None where a guest of KVM's has VT-x, else why not, in a line."""
    device, nested = root / "dev/kvm", root / "sys/module/kvm_intel/parameters/nested"
    if not device.exists():
        return "no /dev/kvm"
    if not nested.is_file():
        return "/dev/kvm is here, but not by VT-x (no module kvm_intel)"
    if nested.read_text(encoding="ascii").strip() not in ("1", "Y"):
        return "/dev/kvm is here, but its guests have no VT-x (the parameter `nested` of kvm_intel is off)"
    if not os.access(device, os.R_OK | os.W_OK):
        return "/dev/kvm is here, but not for you (join the group kvm)"
    return None


def missing(root=Path("/")):
    """None, or what is not here, in a line."""
    why = refusal(root)
    return qemu.missing() or why and f"MACHINE=kvm: {why}. {INSTEAD}"


def version():
    """Nothing is kept by it: nothing is graded here."""
    return None


def start(_setup):
    """Refuse: a driver would count and judge."""
    raise MachineMissing(f"nothing is graded on KVM. {INSTEAD}")
