"""Labs 9 and 10: domains that a student's dom0 makes, and that are judged by what they say.

dom0 makes a domain of any bytes and with any words, and may map its memory: one that says all that is wanted is soon made. So the
kernel, which is the reference's, is looked at where it does that for dom0: what is built must be the reference's guest with the words
of its file, and of its memory dom0 may have the pages of its two rings alone.
"""

import re
import struct

from zeno.judging import headers

from .lab4 import word

(D_ID, D_NAME, NAME_SIZE, D_PV, PD_EVENTS, CONSOLE, STORE, KERNEL, KERNEL_SIZE, RAMDISK_SIZE, WORDS) = headers.numbers(
    ("vmm/domain.h", "vmm/pv/shared.h", "vmm/pv/events/events.h"), (
        "offsetof(struct domain, id)", "offsetof(struct domain, name)", "sizeof(((struct domain *)0)->name)", "offsetof(struct domain, pv)",
        "offsetof(struct pv_domain, events)", "offsetof(struct pv_events, ends.console_pfn)", "offsetof(struct pv_events, ends.store_pfn)",
        *(f"offsetof(struct pv_files, {name})" for name in ("kernel", "kernel_size", "ramdisk_size", "words"))))
WORDS_MAX = 1024
PIECE = 8192


class Made:
    """What of the domains that dom0's files name; `kernel` is the one that all of them have."""

    def __init__(self, t, files, kernel, called="pv-disk"):
        self.t, self.kernel, self.called, self.names = t, kernel, called, []
        self.words = {}
        for name, data in files.items():
            if name.endswith(".cfg"):
                keys = dict(re.findall(r"^(\w+) = '(.*)'$", data.decode(), re.M))
                self.words[keys["name"]] = keys["extra"].encode()
        self.points = {t.symbol("pv_load_files"): self.builds, t.symbol("pv_foreign_map"): self.maps}

    @staticmethod
    def text(client, at, size):
        """Up to its NUL."""
        return client.read(at, size).partition(b"\0")[0]

    def name(self, client, domain):
        """A domain's."""
        return self.text(client, domain + D_NAME, NAME_SIZE).decode("ascii", "replace")

    def builds(self, client, regs):
        """pv_load_files(): dom0 itself is the monitor's."""
        t, name, files = self.t, self.name(client, regs["rdi"]), regs["rsi"]
        if name == "dom0":
            return False
        self.names.append(name)
        t.check(name in self.words, "your dom0 makes a domain of which no file of its speaks", ", ".join(self.words), name)
        size = word(client, files + KERNEL_SIZE)
        same = size == len(self.kernel) and not word(client, files + RAMDISK_SIZE)
        for at in range(0, size if same else 0, PIECE):
            piece = self.kernel[at:at + PIECE]
            same = same and client.read(word(client, files + KERNEL) + at, len(piece)) == piece
        t.check(same, f"your dom0 makes {name} of another kernel than its file says, or with a RAM disk", f"{self.called}, as dom0's archive has it", f"{size} other bytes")
        said = self.text(client, word(client, files + WORDS), WORDS_MAX)
        t.check(said == self.words[name], f"your dom0 gives {name} other words than its file says", self.words[name], said)
        return False

    def maps(self, client, regs):
        """pv_foreign_map(): a domain's page."""
        domain, pfn = regs["rsi"], regs["rdx"]
        events = word(client, word(client, domain + D_PV) + PD_EVENTS)
        rings = [word(client, events + at) for at in (CONSOLE, STORE)]
        self.t.check(pfn in rings, f"your dom0 maps memory of {self.name(client, domain)}'s that is none of its two rings", [f"{one:x}" for one in rings],
                     f"page {pfn:x}")
        return False

    def are(self, lives):
        """Nobody else has lived."""
        got = [life.name for life in lives if life.name != "dom0"]
        self.t.check(got == self.names, "domains begin to run that nobody has built", self.names, got)
