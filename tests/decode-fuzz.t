#!/usr/bin/env python3
"""A short, seeded run of the decoder's and emulator's libFuzzer target; prints TAP.

By hand, for as long as you like, in the same build:
    build/tests/fuzz/emulate -max_len=40 build/tests/fuzz/corpus
"""

import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "build/tests/fuzz"
SOURCES = ["tests/fuzz/emulate.c", *sorted(str(p.relative_to(ROOT))
           for pattern in ("vmm/x86/decode*.c", "vmm/x86/emulate*.c") for p in ROOT.glob(pattern))]
FLAGS = ["-std=gnu11", "-g", "-O1", "-I.", "-Wall", "-Wextra", "-Werror",
         "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
SEED = 1
RUNS = 200_000
MODES = 4
REGISTERS = bytes(range(0x10, 0x20))


def skip(reason):
    """One skipped test, with the reason, and a good exit: nothing was proved."""
    print(f"ok 1 # SKIP {reason}\n1..1")
    sys.exit(0)


def seeds():
    """The instructions of seeds.txt, each in every mode, with memory that works."""
    for line in (ROOT / "tests/fuzz/seeds.txt").read_text(encoding="ascii").splitlines():
        code = bytes.fromhex(line.split("#")[0])
        for mode in range(MODES if code else 0):
            yield bytes([0xf0 | mode, 0x02, 0x02]) + REGISTERS + code


def has_fuzzer(clang):
    """Whether clang finds libFuzzer (Debian: libclang-rt-14-dev)."""
    program = "int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }"
    probe = subprocess.run([clang, "-fsanitize=fuzzer", "-x", "c", "-", "-o", OUT / "probe"],
                           input=program, text=True, capture_output=True, check=False)
    return probe.returncode == 0


def report(number, result, what):
    """One test line, and the tail of what the command said if it failed."""
    good = result.returncode == 0
    print(f"{'' if good else 'not '}ok {number} - {what}")
    if not good:
        for line in (result.stdout + result.stderr).splitlines()[-40:]:
            print("#", line)
    return good


def main():
    """Build, fill a fresh corpus, run."""
    clang = shutil.which("clang")
    if not clang:
        skip("clang is not installed (apt install clang libclang-rt-14-dev)")
    corpus = OUT / "corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    if not has_fuzzer(clang):
        skip("clang has no libFuzzer (apt install libclang-rt-14-dev)")
    for i, seed in enumerate(seeds()):
        (corpus / f"seed{i:03}").write_bytes(seed)
    built = subprocess.run([clang, *FLAGS, *SOURCES, "-o", OUT / "emulate"], cwd=ROOT, text=True,
                           capture_output=True, check=False)
    good = report(1, built, "the fuzz target builds")
    if good:
        run = subprocess.run([OUT / "emulate", f"-seed={SEED}", f"-runs={RUNS}", "-max_len=40",
                              "-timeout=10", f"-artifact_prefix={OUT}/", corpus], cwd=ROOT,
                             text=True, errors="replace", capture_output=True, check=False,
                             timeout=300)
        good = report(2, run, f"{RUNS} inputs from seed {SEED} break no promise")
    print(f"1..{2 if built.returncode == 0 else 1}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
