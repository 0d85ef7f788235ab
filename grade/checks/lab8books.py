"""Lab 8: what Zeno keeps of grants, as it lies in the machine's memory."""

import struct

from zeno.guests.pvgrants import DEVICE, HOST, PAGES, PER_FRAME, READ
from zeno.judging import headers

from .lab4 import word
from .lab6b import F_SIZE, Record

HEADERS = ("vmm/pv/grant/grant.h", "vmm/domain.h")
(G_TABLE, G_HANDLES, G_ACTIVE, G_HANDLE, T_FRAME, A_SIZE, A_MFN, A_USER, A_READERS, A_WRITERS, H_SIZE, H_FLAGS, H_REF, H_MFN, H_OWNER, H_PER,
 FRAMES, OWNER_HOST) = headers.numbers(HEADERS, (
     *(f"offsetof(struct pv_grants, {name})" for name in ("table", "handles", "active", "handle")), "offsetof(struct pv_grant_table, frame)",
     "sizeof(struct pv_active)", *(f"offsetof(struct pv_active, {name})" for name in ("mfn", "user", "readers", "writers")),
     "sizeof(struct pv_handle)", *(f"offsetof(struct pv_handle, {name})" for name in ("flags", "ref", "mfn", "owner")), "PV_FRAME_HANDLES",
     "PV_GRANT_FRAMES", "OWNER_HOST"))
HANDLES_MOST, = headers.numbers(HEADERS, ("PV_HANDLE_FRAMES * PV_FRAME_HANDLES",))
G_FREE, = headers.numbers(HEADERS, ("offsetof(struct pv_grants, free_handle)",))
PARTS = HOST | DEVICE


class Grants:
    """A domain's, as they lie in memory."""

    def __init__(self, t, client, number):
        self.t, self.client = t, client
        self.at = word(client, t.symbol("pv_grants_of") + 8 * number)
        self.pages = struct.unpack(f"<{FRAMES}Q", client.read(self.at + G_ACTIVE, 8 * FRAMES))
        self.count, = struct.unpack("<I", client.read(self.at + G_HANDLES, 4))
        t.check(self.count <= HANDLES_MOST, f"domain {number} has more handles than there can be", HANDLES_MOST, self.count)

    def active(self, ref):
        """(frame, user, readers, writers)"""
        page = self.pages[ref // PER_FRAME]
        self.t.check(page, f"entry {ref} has been used, and Zeno keeps nothing of it", "a page for such entries", "none")
        raw = self.client.read(page + A_SIZE * (ref % PER_FRAME), A_SIZE)
        return (*struct.unpack_from("<I", raw, A_MFN), *struct.unpack_from("<H", raw, A_USER), raw[A_READERS], raw[A_WRITERS])

    def used(self):
        """{ref: (frame, user, readers, writers)} of those that somebody uses."""
        found = {}
        for n, page in enumerate(self.pages):
            raw = self.client.read(page, A_SIZE * PER_FRAME) if page else b""
            for i in range(0, len(raw), A_SIZE):
                if raw[i + A_READERS] or raw[i + A_WRITERS]:
                    ref = n * PER_FRAME + i // A_SIZE
                    found[ref] = (*struct.unpack_from("<I", raw, i + A_MFN), *struct.unpack_from("<H", raw, i + A_USER), raw[i + A_READERS],
                                  raw[i + A_WRITERS])
        return found

    def entry_at(self, ref):
        """Where it lies."""
        return word(self.client, word(self.client, self.at + G_TABLE) + T_FRAME + 8 * (ref // PER_FRAME)) + 8 * (ref % PER_FRAME)

    def handles(self):
        """[(flags, ref, frame, owner)] of those that have something mapped, sorted."""
        found, raw = [], self.all_handles()
        for i in range(0, len(raw), H_SIZE):
            flags, ref, mfn = (struct.unpack_from("<I", raw, i + at)[0] for at in (H_FLAGS, H_REF, H_MFN))
            if flags:
                found.append((flags & (PARTS | READ), ref, mfn, *struct.unpack_from("<H", raw, i + H_OWNER)))
        return sorted(found)

    def all_handles(self):
        """The bytes of all, free or not."""
        return b"".join(self.client.read(word(self.client, self.at + G_HANDLE + 8 * n), H_SIZE * H_PER) for n in range(self.count // H_PER))

    def handle_at(self, number):
        """Where it lies."""
        return word(self.client, self.at + G_HANDLE + 8 * (number // H_PER)) + H_SIZE * (number % H_PER)

    def free(self):
        """[the numbers of those that are free], in the order in which they are given out."""
        found, raw, (number,) = [], self.all_handles(), struct.unpack("<I", self.client.read(self.at + G_FREE, 4))
        while number < self.count and len(found) <= self.count:
            found.append(number)
            number, = struct.unpack_from("<I", raw, H_SIZE * number + H_REF)
        return found


def record(t, client, mfn):
    """A frame of Zeno's books."""
    count = word(client, t.symbol("frame_count"))
    t.check(mfn < count, "Zeno keeps a frame as used that is none", f"one of {count}", f"{mfn:x}")
    return Record(client.read(word(client, t.symbol("frames")) + F_SIZE * mfn, F_SIZE), 0)


def mfns(client, program):
    """Of its pages, as the guest has found them."""
    return struct.unpack(f"<{PAGES + 2}Q", client.read(program.at("mfns"), 8 * (PAGES + 2)))
