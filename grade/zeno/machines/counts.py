"""The TCG plugin: its arguments, and reading its result file while it grows."""

import struct
from pathlib import Path

from . import library
from .machine import Block, Counts

# struct result of zcount.c
MAGIC = 0x31544E554F435A
HEADER, MAX_WATCH, RING = 10, 32, 64
WORDS = HEADER + 2 * MAX_WATCH + 2 * RING + 4
VERDICTS = {0: None, 1: "instructions", 2: "halts"}

def plugin():
    """The compiled plugin's path, or None: runs are then limited by CPU seconds only."""
    return library.built("plugin/zcount")


def argument(path, out, limits, start, exact, watch, points=(), known=None):
    """The text for QEMU's -plugin option."""
    words = [str(path), f"out={out}", f"start={start:#x}"]
    if limits.instructions is not None:
        words.append(f"limit={limits.instructions}")
    if limits.halts is not None:
        words.append(f"halts={limits.halts}")
    if exact:
        words.append("exact=1")
    if len(watch) > MAX_WATCH:
        raise ValueError(f"at most {MAX_WATCH} addresses can be watched")
    words += [f"watch={address:#x}" for address in watch]
    words += [f"point={address:#x}" for address in points]
    if known:
        words += [f"known={known[0]}", f"known_at={known[1]:#x}"]
    return ",".join(word.replace(",", ",,") for word in words)


class Reader:
    """Reads the plugin's result file, at any time."""

    def __init__(self, path, exact=False):
        self.path = path
        self.exact = exact

    def _words(self):
        try:
            raw = Path(self.path).read_bytes()
        except OSError:
            return None
        if len(raw) != 8 * WORDS:
            return None
        words = struct.unpack(f"={WORDS}Q", raw)
        return words if words[0] == MAGIC else None

    def pulse(self):
        """A value that changes while the CPU executes anything."""
        words = self._words()
        return words and (words[2], words[3], words[6], words[8])

    def halts(self):
        """How often the CPU went to sleep so far."""
        words = self._words()
        return words[6] if words else 0

    def verdict(self):
        """None, "instructions" or "halts": the limit that ended the run."""
        words = self._words()
        return VERDICTS.get(words[1]) if words else None

    def counts(self):
        """Counts so far, or None if the plugin has not come up."""
        words = self._words()
        if not words:
            return None
        _, _, low, high, boot, entered, halts, _, blocks, watched = words[:HEADER]
        at = HEADER
        addresses = words[at:at + MAX_WATCH]
        times = words[at + MAX_WATCH:at + 2 * MAX_WATCH]
        ring_at = words[at + 2 * MAX_WATCH:at + 2 * MAX_WATCH + RING]
        sizes = words[at + 2 * MAX_WATCH + RING:-4]
        watched = min(watched, MAX_WATCH)
        last = [Block(ring_at[i % RING], sizes[i % RING])
                for i in range(max(0, blocks - RING), blocks)]
        if not entered:
            boot = low
        return Counts(total=low + high, boot=boot, low=low - boot, high=high, halts=halts,
                      exact=self.exact, watches=dict(zip(addresses[:watched], times[:watched])),
                      last=tuple(last), longest=words[-4], longest_at=words[-3:-1], known=words[-1])
