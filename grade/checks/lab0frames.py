"""Lab 0, exercise 0.4: the page allocator, whose every answer is looked at from outside."""

import struct

from checks.lab0 import MIB, PAGE, RAM_MIB, outputs, witness


class Map:
    """Which frames are in use, seen from outside: the tables themselves, and what they map."""

    def __init__(self, client, cr3):
        self.used = set()
        self.client = client
        self._table(cr3 & ~0xFFF, 4, 0)

    def _table(self, physical, level, base):
        self.used.add(physical // PAGE)
        entries = struct.unpack("<512Q", self.client.read(physical, PAGE, physical=True))
        for i, entry in enumerate(entries):
            if not entry & 1:
                continue
            va = base | i << (12 + 9 * (level - 1))
            if level == 4 and (i >= 262 or i < 256):
                continue  # the direct map maps everything; guests are not ours
            target = entry & 0x000FFFFFFFFFF000
            if level == 1 or (level < 4 and entry & 0x80):
                first = target // PAGE
                self.used.update(range(first, first + 512 ** (level - 1)))
            else:
                self._table(target, level - 1, va)


class Watcher:
    """Looks at every frame that the allocator gives out, and keeps its own books."""

    def __init__(self, t, ram, limit=None):
        self.t = t
        self.ram = ram
        self.limit = limit
        self.table = t.symbol("frames")
        self.base = None
        self.used = None
        self.held = {}
        self.ever = set()
        self.freed = set()
        self.reused = 0
        self.wrong = None
        self.looked = 0

    def got(self, client, regs):
        """At frames_trial_got(f, number, seq)."""
        if self.base is None:
            self.base = int.from_bytes(client.read(self.table, 8), "little")
            self.used = Map(client, regs["cr3"]).used
        pointer, number, seq = regs["rdi"], regs["rsi"], regs["rdx"]
        self.wrong = self._judge(client, pointer, number)
        if self.wrong:
            self.wrong = f"allocation at step {seq}: {self.wrong}"
            return True
        self.reused += number in self.freed
        self.freed.discard(number)
        self.held[number] = seq
        self.ever.add(number)
        return False

    def _judge(self, client, pointer, number):
        frames = self.ram * MIB // PAGE
        if (pointer - self.base) % 16 or (pointer - self.base) // 16 != number:
            return f"{pointer:#x} is no element of frames[]"
        if number >= frames:
            return f"frame {number:#x} lies beyond the {self.ram} MiB of RAM"
        if 0xA0 <= number < 0x100:
            return f"frame {number:#x} lies between 640 KiB and 1 MiB, which is not RAM"
        if number in self.held:
            return f"frame {number:#x} is given out again while it is held (since {self.held[number]})"
        if number in self.used:
            return (f"frame {number:#x} is in use: the kernel's image, its page tables, stacks or "
                    "the frame table itself lie there")
        if self.limit is None or self.looked < self.limit:
            self.looked += 1
            data = client.read(number * PAGE, PAGE, physical=True)
            if any(data):
                at = next(i for i, byte in enumerate(data) if byte)
                return f"frame {number:#x} is not zeroed: byte {at:#x} is {data[at]:#04x}"
        return None

    def gave(self, _client, regs):
        """At frames_trial_gave(f, number, seq), just before the frame is freed."""
        number = regs["rsi"]
        self.held.pop(number, None)
        self.freed.add(number)
        return False

    def points(self):
        """Where to look."""
        return {self.t.symbol("frames_trial_got"): self.got,
                self.t.symbol("frames_trial_gave"): self.gave}


def frames_order(t):
    """Allocations and frees in a random order, each seen from outside."""
    watcher = Watcher(t, RAM_MIB)
    count = t.rng.randrange(250, 400)
    command = f"frames-trial {t.rng.getrandbits(60)} {count}"
    run, seen = witness(t, [command], watcher.points())
    said = "\n".join(next((lines for name, lines in outputs(run) if name == command), []))
    t.check(not watcher.wrong, watcher.wrong or "", "a free, zeroed frame of RAM", said)
    got = seen[t.symbol("frames_trial_got")]
    t.orderly(run)
    t.check(got >= count // 2, f"`{command}` ended after {got} allocations: "
            + (said.strip().split("\n")[0] or "nothing was printed"),
            f"about {count * 5 // 8} allocations", said)
    t.check(not watcher.held, f"{len(watcher.held)} frames were never given back: the trial stopped "
            "early", "all came back", said)
    t.check("all came back" in said, "the kernel's own count of free frames does not fit: a frame "
            "was lost or counted twice", "as many free frames after as before", said)
    t.check(watcher.reused > 0, "no frame that was freed was ever given out again",
            "freed frames come back", "only fresh ones")


DRAIN_MIB = 16


def frames_drain(t):
    """Every frame is taken until NULL comes; the counts from outside and inside agree."""
    watcher = Watcher(t, DRAIN_MIB, limit=200)
    command, got, rounds = "frames-drain", t.symbol("frames_trial_got"), []

    def next_round(_client, _regs):
        # The first round is looked at frame by frame, the second is counted only.
        rounds.append(len(watcher.ever))
        return len(rounds) == 2

    run, _ = witness(t, [command, command], {got: watcher.got,
                                             t.symbol("command_frames_drain"): next_round},
                     mem=DRAIN_MIB, watch=(got,))
    lines = [lines for name, lines in outputs(run) if name == command]
    said = "\n".join(line for part in lines for line in part)
    t.check(not watcher.wrong, watcher.wrong or "", "each free frame once, then NULL", said)
    t.orderly(run)
    times = run.counts.watches.get(got, 0) if run.counts else 0
    # What can be RAM and is not in use, less what modules and tables of the loader take.
    frames = DRAIN_MIB * MIB // PAGE
    free = frames - len([n for n in (watcher.used or ()) if n < frames]) - 0x60
    t.check(times == 2 * len(watcher.ever), f"two rounds gave out {times} frames, the first of them "
            f"{len(watcher.ever)}: frames were lost or appeared", "the same frames twice", said)
    t.check(len(watcher.ever) * 10 >= free * 9,
            f"only {len(watcher.ever)} frames were ever given out; about {free} frames of RAM are "
            "in nobody's use", f"about {free}", len(watcher.ever))


def frames_twice(t):
    """A double free is the host's own bug: a panic, not a list with a loop in it."""
    run, seen = witness(t, ["free-twice"], {t.symbol("panic"): lambda client, regs: True})
    said = "\n".join(run.text().splitlines()[-6:])
    t.check(seen[t.symbol("panic")] == 1, "freeing a frame that is free already went unnoticed: "
            "frame_list_free() must panic", "panic()", said)
