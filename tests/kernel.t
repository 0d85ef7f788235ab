#!/usr/bin/env python3
"""The host kernel with Lab 0's solution: every monitor command, wild addresses, every way to crash.

Boots on QEMU. Commands come from the boot command line; one machine is typed into.
"""

import fcntl
import os
import re
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "grade"))
from zeno.machines import machine  # noqa: E402
from zeno.machines.machine import End  # noqa: E402

VARIANT = "test-kernel"  # a directory of its own: nobody else builds there
BUILD = ROOT / "build" / VARIANT
HOLE, HOLE_END = 0xFFFF800000000000, 0xFFFF880000000000
SCRATCH = 0xFFFF810000000000

tests = []


class Failure(Exception):
    """A test's own verdict, in words."""


def test(function):
    """Registers a function; its docstring is the test's name."""
    tests.append(function)
    return function


def check(condition, words, output=""):
    """Fail in words, with the output that showed it."""
    if not condition:
        raise Failure(words + (":\n" + output if output else ""))


def boot(commands, options="panic=off", code=0, **setup):
    """Run commands to the end, which must be an orderly one with this code; {command: output}."""
    run = machine.boot(kernel=BUILD / "zeno.mb", cmdline=f"{options} -- {'; '.join(commands)}; off",
                       elf=[BUILD / "zeno.elf"], **setup)
    text = run.text().replace("\r", "")
    run.cleanup()
    check(run.end is End.SHUTDOWN, f"the machine ended by {run.end.value}: {run.detail}", text)
    check(run.code == code, f"code {run.code} instead of {code}", text)
    return text, dict(part.split("\n", 1) for part in text.split("K> ")[1:] if "\n" in part), run


def symbols():
    """{name: address} of the kernel."""
    lines = subprocess.run(["nm", BUILD / "zeno.elf"], check=True, capture_output=True, text=True)
    return {words[2]: int(words[0], 16) for words in map(str.split, lines.stdout.splitlines())
            if len(words) == 3}


@test
def commands():
    """each command answers, and errors are said in words"""
    text, said, _ = boot(["help", "help va", "help nothing", "echo a  b;;echo c", "uptime",
                          "threads", "nonsense", "va", "va 0x", "va 0x1ffffffffffffffff",
                          "off 1000", "x " * 20])
    for name in ("backtrace", "echo", "frames", "help", "mem", "off", "threads", "uptime", "va"):
        check(re.search(rf"^  {name}\b", said["help"], re.M), f"help does not list {name}", text)
    check("crash" not in said["help"], "help lists a command for tests", text)
    check("way to memory" in said["help va"], "help va", text)
    check(said["help nothing"] == "there is no command nothing; type `help` for the list\n", "help nothing", text)
    check(said["echo a  b"] == "a b\n" and said["echo c"] == "c\n", "echo", text)
    check(re.match(r"up 0\.\d{6} s, ", said["uptime"]), "uptime", text)
    check("no threads" in said["threads"], "threads", text)
    check("unknown command: nonsense" in said["nonsense"], "an unknown command", text)
    for wrong in ("va", "va 0x", "va 0x1ffffffffffffffff", "off 1000"):
        check("invalid argument (error 22)\nusage: " in said[wrong], f"`{wrong}` is taken", text)
    check("more than 16 words" in text, "a command of 20 words is taken", text)


@test
def memory():
    """mem and frames tell the same story, and it fits the machine"""
    text, said, _ = boot(["mem", "frames"], mem=64)
    check(re.search(r"^  0000000000100000-[0-9a-f]{16} +\d+ KiB  RAM$", said["mem"], re.M),
          "RAM from 1 MiB on", text)
    check(re.search(r"^  0000000000100000-.*kernel$", said["mem"], re.M), "the kernel", text)
    free, total = map(int, re.search(r"(\d+) of (\d+) frames are free", said["mem"]).groups())
    check(10000 < free < total <= 64 * 256, "64 MiB have 16384 frames", text)
    found = re.findall(r"^  (\w+) +(\d+) frames", said["frames"], re.M)
    counts = {kind: int(n) for kind, n in found}
    check(sum(counts.values()) == total, "the kinds of frames do not add up", text)
    check(abs(counts["free"] - free) <= 1, "mem and frames count differently", text)


@test
def rights():
    """va shows W^X: text R X, read-only data R NX, data W NX, guard page and low half empty"""
    at = symbols()
    wanted = {at["kernel_main"]: " R S X", at["error_words"]: " R S X", at["ticks"]: " W S NX",
              at["__rodata_start"]: " R S NX", 0xFFFF830000000000 + 0x800000: " W S NX",
              at["boot_stack_guard"]: "a hole", 0x1000: "a hole",
              0xFFFF830000000000 + at["kernel_main"] - 0xFFFF828000000000: " R S NX"}
    text, said, _ = boot([f"va {va:#x}" for va in wanted])
    for va, words in wanted.items():
        check(words in said[f"va {va:#x}"], f"{va:#x} should be{words}", text)


@test
def wild_walks():
    """va takes any address and any root"""
    wild = [0, 0x7FFFFFFFFFFF, 0xFFFF800000000000, HOLE_END - 1, 0xFFFFFFFFFFFFFFFF,
            0xFFFFFF8000000000, SCRATCH]
    odd = [0x800000000000, 0xFFFF7FFFFFFFFFFF, 0xDEADBEEFDEADBEEF, 0x8000000000000000]
    roots = [0x100000, 0x7FFF000, 0xFFFFF000, 0xFFFFFFFFF000, 0xFFFFFFFFFFFFF000]
    text, said, _ = boot([f"va {va:#x}" for va in wild + odd]
                         + [f"va 0xffff828000100000 {root:#x}" for root in roots]
                         + ["va 0 0x1001"])
    for va in odd:
        check("not canonical" in said[f"va {va:#x}"], f"{va:#x} is taken", text)
    for root in roots[2:]:
        check("is not in RAM" in said[f"va 0xffff828000100000 {root:#x}"],
              f"a root at {root:#x} is believed", text)
    check("usage" in said["va 0 0x1001"], "a root that is no page", text)


@test
def physical_words():
    """xp prints the multiboot header, and refuses what is not RAM"""
    text, said, _ = boot(["xp 0x100000 6", "xp 0x100000 3", "xp 0x100002 1", "xp 0xa0000 1",
                          "xp 0x9fc00 1", "xp 0xffffffffffffffff 2", "xp 0xfffffffffffffffc 2",
                          "xp 0x100000 0", "xp 0x100000 0x40000000", "xp 0x100000", "xp a b"])
    check(re.fullmatch(r"0000000000100000: 1badb002 00000003 e4524ffb [0-9a-f]{8}\n"
                       r"0000000000100010: [0-9a-f]{8} [0-9a-f]{8}\n", said["xp 0x100000 6"]),
          "xp 0x100000 6", text)
    check(said["xp 0x100000 3"] == "0000000000100000: 1badb002 00000003 e4524ffb\n", "xp, 3", text)
    for wrong, output in said.items():
        check(not wrong.startswith("xp") or wrong.endswith((" 6", " 3"))
              or output.startswith("xp: invalid"), f"`{wrong}` is taken", text)


@test
def backtraces():
    """bt-trial names its callers down to kernel_main, and differs by seed; wild rbp end quietly"""
    names = {"trial_ash", "trial_birch", "trial_cedar", "trial_elm", "trial_fir"}
    at = symbols()
    wild = ["0", "1", "0x1000", "0xffff828000000000", "0xffffffffffffffff", "0xfffffffffffffff8",
            "0xffff87fffffffff8", "0xffff7ffffffffff8", "0x800000000000",
            f"{at['boot_stack_guard']:#x}", f"{at['boot_stack_top'] - 8:#x}"]
    text, said, _ = boot(["bt-trial 1", "bt-trial 2", "backtrace"]
                         + [f"backtrace-at {rbp}" for rbp in wild])
    chains = []
    for command in ("bt-trial 1", "bt-trial 2"):
        lines = re.findall(r"^  ([0-9a-f]{16}) (\w+)\+0x([0-9a-f]+)$", said[command], re.M)
        depth = int(re.match(r"bt-trial: (\d+) calls deep", said[command])[1])
        found = [name for _, name, _ in lines]
        check(found[0] == "trial_end" and set(found[1:depth + 1]) <= names
              and found[depth + 1] == "command_bt_trial" and found[-2:] == ["kernel_main", "high"],
              command, text)
        for address, name, offset in lines:
            check(at[name] + int(offset, 16) == int(address, 16), f"{name} is wrong", text)
        chains.append(found)
    check(chains[0] != chains[1], "the seed does not matter", text)
    for rbp in wild:
        check(said[f"backtrace-at {rbp}"].count("\n") <= 2, f"too much at {rbp}", text)


@test
def allocator():
    """frames-trial and frames-drain lose nothing; a double free is named"""
    text, said, _ = boot(["frames", "frames-trial 1 5000", "frames-trial 2 300", "frames-drain",
                          "frames-drain", "frames-trial 3 100000"], mem=32)
    for command in ("frames-trial 1 5000", "frames-trial 2 300", "frames-trial 3 100000"):
        check("all came back" in said[command], command, text)
    taken, free, after = map(int, re.findall(r"\d+", said["frames-drain"]))
    check(taken == free == after and taken > 5000, "frames-drain", text)
    text, _, _ = boot(["free-twice"], code=3)
    check(re.search(r"^panic: frame_list_free: frame [0-9a-f]+ is free already$", text, re.M),
          "a double free goes unnoticed", text)


def puzzle_key(name):
    """What trials/boot/puzzle.c shows for a name, by the answers' keys: the seed's sequence, again."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 & 0xFFFFFFFF
    state = seed * 0x9E3779B97F4A7C15 + 0x6A09E667F3BCC909 & (1 << 64) - 1
    values = []
    for _ in range(8 + 2 * 16 + 4):
        state ^= state << 13 & (1 << 64) - 1
        state ^= state >> 7
        state ^= state << 17 & (1 << 64) - 1
        values.append(state)
    hits = [(value >> 16 & 0xFFFFFFFF, ("red", "green", "blue")[colour % 3])
            for value, colour in zip(values[8:40:2], values[9:40:2])]
    cells = [value ^ {"red": 0x1111, "green": 0x2222, "blue": 0x4444}[colour]
             for value, colour in hits]
    secret, page, frame, offset = values[40:]
    return {"hit9": hits[8][0], "caller12": "puzzle_" + hits[11][1],
            "secret": secret.to_bytes(8, "little").hex(" "),
            "cell": next((cell for cell in cells if cell >> 31), 0),
            "linear": SCRATCH + (page % 512 * 513 << 12) + offset % 4096,
            "physical": (0x20 + frame % 64) * 4096 + offset % 4096}


@test
def answers():
    """the solution's answers.txt is right for its name, and says where paging is turned on"""
    lines = (ROOT / "solutions/0-boot/answers.txt").read_text().splitlines()
    said = dict(line.split(": ", 1) for line in lines if line and line[0] != "#")
    key = puzzle_key(said["name"])
    for name in ("hit9", "cell", "physical"):
        check(int(said[name], 0) == key[name], f"{name} is {key[name]:#x}, not {said[name]}")
    for name in ("caller12", "secret"):
        check(said[name] == key[name], f"{name} is {key[name]}, not {said[name]}")
    listing = subprocess.run(["objdump", "-d", "-j", ".boot", BUILD / "zeno.elf"], check=True,
                             capture_output=True, text=True).stdout
    places = re.findall(r"^ *([0-9a-f]+):.*mov +%\w+,%cr0", listing, re.M)
    check(len(places) == 1, "CR0 is written more than once before long mode", listing)
    check(int(said["paging"], 0) == int(places[0], 16),
          f"paging is turned on at 0x{places[0]}, not {said['paging']}")


@test
def puzzle():
    """puzzle maps the page that its name says, twice too"""
    key = puzzle_key("ada")
    linear, physical = key["linear"], key["physical"]
    text, said, _ = boot(["puzzle ada", "puzzle bob", f"va {linear:#x}", "puzzle ada", "puzzle"])
    check(f"{linear:#018x}" in said["puzzle ada"], "the linear address", text)
    check(f"physical {physical:016x} in a page of 4 KiB" in said[f"va {linear:#x}"],
          f"{linear:#x} is not mapped to {physical:#x}", text)
    check("usage" in said["puzzle"], "puzzle without a name", text)


PANICS = {
    "panic": ("asked for with crash panic", "command_crash"),
    "assert": ("assertion failed: zero == 1", "command_crash"),
    "ud": ("#UD", "command_crash"),
    "divide": ("#DE", "command_crash"),
    "null": ("#PF", "command_crash"),
    "text": ("#PF", "command_crash"),
    "nx": ("#PF", "monitor_run"),  # what was called has no frame, so its caller is not seen
    "stack": ("guard page of the host's stack", "deepen"),
}


@test
def panics():
    """each way to crash is named, with a symbolised backtrace, once; and it ends the machine"""
    for kind, (words, where) in PANICS.items():
        text, _, run = boot([f"crash {kind}"], code=3)
        panic = text[text.index("\npanic: "):]
        check(words in panic, f"crash {kind} does not say {words!r}", text)
        check(panic.count("panic: ") == 1, f"crash {kind}: a panic within the panic", text)
        places = re.findall(r"^  [0-9a-f]{16} (\S+)\+0x", panic, re.M)
        check(where in places[:3], f"crash {kind}: {where} is not in the backtrace", text)
        check(kind == "stack" or places[-2:] == ["kernel_main", "high"],
              f"crash {kind}: the backtrace does not reach kernel_main", text)
        check(any(line.startswith("panic ") for _, line in run.tagged("log")),
              f"crash {kind} is not on the side channel", text)


@test
def nmi():
    """an NMI is told, and the host goes on"""
    text, said, _ = boot(["crash nmi", "echo on"])
    check("NMI at ffff8280" in said["crash nmi"] and said["echo on"] == "on\n", "crash nmi", text)


@test
def panic_stays():
    """without panic=off the machine halts and stays readable"""
    run = machine.boot(kernel=BUILD / "zeno.mb", cmdline="-- crash panic; off",
                       elf=[BUILD / "zeno.elf"])
    check(run.end is End.DEAD_HALT, f"the machine ended by {run.end.value}", run.text())
    check("The host has stopped." in run.text(), "no last word", run.text())
    run.cleanup()


@test
def typing():
    """line editing: backspace, Ctrl-U, arrows for history, Ctrl-C; a long line is cut"""
    # An idle host wakes 100 times a second: a minute without the awaited answer ends the run.
    live = machine.start(kernel=BUILD / "zeno.mb", cmdline="", interactive=True,
                         limits=machine.Limits(halts=6000))
    steps = [(b"", b"K> "), (b"echo onr\x7fe\r", b"\none\n"),
             (b"nonsense\x15echo two\r", b"\ntwo\n"), (b"\x1b[A\x1b[A\r", b"\none\n"),
             (b"\x1b[A\x1b[A\x1b[B\x1b[B echo three\r\n", b"\nthree\n"),
             (b"echo no\x03", b"^C\nK> "),
             (b"sleep 4000000000; echo never\recho later\r\x03", b"^C\nK> "),
             (b"echo after\r", b"echo after\nafter\n"), (b"sleep 50\recho ahead\r", b"\nahead\n"),
             (b"\r", b"K> "),
             (b"echo " + b"y" * 600 + b"\r", b"\n" + b"y" * 506 + b"\n")]
    for send, expected in steps:
        if send:
            live.send(send)
        if not live.wait_for(expected):
            run = live.wait()
            raise Failure(f"{send!r} does not give {expected!r} ({run.end.value}: {run.detail}):\n"
                          + run.text())
    live.send(b"off 5\r")
    run = live.wait()
    text = run.text()
    run.cleanup()
    check(run.end is End.SHUTDOWN and run.code == 5, f"ended by {run.end.value}", text)


@test
def clock():
    """under -icount TSC, PIT and ticks agree, and two runs give the same bytes"""
    commands = ["sleep 55", "uptime", "sleep 1000", "uptime ", "irqs"]
    first, said, _ = boot(commands, icount=True)
    check(first == boot(commands, icount=True)[0], "two runs differ", first)
    ups = [re.match(r"up (\d+)\.(\d{6}) s, (\d+) ticks of 10 ms, TSC at (\d+) kHz", said[name])
           for name in ("uptime", "uptime ")]
    check(all(ups), "uptime", first)
    (at, before, khz), (later, after, _) = ((int(u[1] + u[2]), int(u[3]), int(u[4])) for u in ups)
    check(998000 <= khz <= 1002000, "a TSC tick is a nanosecond there", first)
    check(1000000 <= later - at < 1011000, "sleep 1000", first)
    check(abs((later - at) / 10000 - (after - before)) <= 2, "ticks and TSC drift apart", first)


@test
def interrupts():
    """a spurious interrupt is counted as such; only the timer has come"""
    text, said, _ = boot(["crash spurious", "crash spurious", "sleep 30", "irqs"], icount=True)
    check(re.search(r"^  spurious +2 times$", said["irqs"], re.M), "spurious interrupts", text)
    check(re.search(r"^  IRQ 0 +[1-9]\d* times$", said["irqs"], re.M), "timer", text)
    check("nobody" not in said["irqs"], "an interrupt that nobody asked for", text)


@test
def symbol_table():
    """the second link moves no function, and the harness' own check of it can fail"""
    tool = [sys.executable, ROOT / "tools/ksyms.py", "--verify"]
    subprocess.run([*tool, BUILD / "stage1.elf", BUILD / "zeno.elf"], check=True)
    for other, code in ((ROOT / "Makefile", 2), (ROOT / "nothing", 2)):
        done = subprocess.run([*tool, BUILD / "zeno.elf", other], capture_output=True, check=False)
        check(done.returncode == code and done.stderr, f"{other}: status {done.returncode}")


def judge(function):
    """None, or what is wrong; anything unexpected is wrong too."""
    try:
        function()
    except Failure as failure:
        return str(failure)
    except Exception:  # the others must still run
        return traceback.format_exc()
    return None


def build():
    """Make the kernel; two runs of this file wait for each other."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return subprocess.run(
            ["make", "-s", "LAB=0", "SOLUTION=1", f"VARIANT={VARIANT}", f"build/{VARIANT}/zeno.mb"],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})


def main():
    """Builds, then runs all tests, two at a time."""
    made = build()
    if made.returncode:
        print(f"Bail out! the kernel does not build: {(made.stderr or made.stdout)[-500:]!r}")
        return 1
    if machine.missing("qemu"):
        print(f"1..0 # SKIP {machine.missing('qemu')}")
        return 0
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    with ThreadPoolExecutor(2) as pool:
        for number, (function, wrong) in enumerate(zip(tests, pool.map(judge, tests)), 1):
            failed += wrong is not None
            print(f"{'not ok' if wrong else 'ok'} {number} - {function.__doc__}")
            for line in (wrong or "").splitlines():
                print(f"# {line}")
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
