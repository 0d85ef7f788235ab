"""Builds the kernel under test in a scratch tree, so that the work tree is never touched.

The tree holds what the build reads and nothing else: the kernel, the hypervisor, the tools, the
upper part of grade/labs/*.toml, the labs that this one needs, and of the graded lab's folder the
pristine skeleton with just the manifest's files replaced by the student's. It holds no solution of
the graded lab, no test, no mutant, no answer, and of the guests with the reference's files none. Only images leave it.
"""

import functools
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from . import objects, sandbox
from .evidence import Symbols
from .tools import ROOT

LEFT_OUT = {".git", ".ci", "build", "labs", "solutions", "tests", "handouts", "__pycache__",
            "compile_commands.json"}
GRADE_KEPT = {"machines.toml", "zeno/machines/elf.py"}
"""What of grade/ a build reads."""
VARIANT = "graded"
ENDS = Path("guest", "ends")
"""Where an export has guests with the reference's files, compiled (tools/student.py)."""
SOURCE_CAP = 512 << 10
IMAGE_CAP = 64 << 20
LOG_CAP = 24 << 10
LITTLE = 256 << 10
"""A build that fails where less is free than that fails for want of it."""
IN_MEMORY = Path("/dev/shm")
MEMORY_FREE = 512 << 20
"""A tree has some twelve hundred files in 14 MB; with less than that free, memory is not the place for it."""


class BuildTrouble(Exception):
    """The build could not be tried: not the student's failure."""


@dataclass
class Image:
    """What came out of a build. `ok` is False if the student's code does not build."""

    ok: bool
    log: str
    elf: Path | None = None
    mb: Path | None = None
    guests: Path | None = None
    """The folder of the tree's own guests."""
    own: Path | None = None
    """The folder of those guests that the lab has files in, with the submission's; in `guests` they have the reference's."""
    root: Path = ROOT
    files: dict = field(default_factory=dict)
    """The submission as taken: {name: bytes}, answers.txt included."""
    notes: list = field(default_factory=list)
    late: bool = False
    """The build did not end by itself."""
    name: str | None = None
    """What kept verdicts call it: set once, when all of it is here."""

    @functools.cached_property
    def symbols(self):
        """The kernel's symbols, read once for all tests."""
        return Symbols(self.elf)


def manifest_part(text):
    """A lab's data file without its tests, which is all that a build needs."""
    lines, kept = [], True
    for line in text.splitlines():
        if line.startswith("["):
            kept = not line.startswith(("[[tests]]", "[tests", "[[rewards]]"))
        if kept:
            lines.append(line)
    return "\n".join(lines) + "\n"


def cap_log(text, cap=LOG_CAP):
    """A compiler's output, the middle cut out if it is long: the first error matters most."""
    if len(text) <= cap:
        return text
    return (f"{text[:cap * 2 // 3]}\n[... {len(text) - cap} characters left out ...]\n"
            f"{text[-cap // 3:]}")


def take_folder(folder, lab):
    """{name: bytes} of the manifest's files in a folder: regular files only, none too long."""
    found = {}
    for name in lab.files:
        path = Path(folder, name)
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise BuildTrouble(f"the manifest names {name!r}")
        for parent in list(path.parents)[:len(Path(name).parts) - 1]:
            if parent.is_symlink():
                raise ValueError(f"{name}: a link is on the way to it")
        if path.is_symlink() or path.exists():
            found[name] = sandbox.take_file(path, SOURCE_CAP, name)
    return found


def own_environment():
    """What a build without walls gets of the environment: where the tools are, and which."""
    return {key: os.environ[key] for key in ("PATH", "HOME", "CROSS", "CC", "LC_ALL", "CCACHE_DIR", "CCACHE_DEPEND")
            if key in os.environ}


def place_of_trees(memory=IN_MEMORY):
    """Where scratch trees lie: in memory, unless TMPDIR names a place. To make their files on a disk costs 1 s of CPU, which
    is most of what `make grade` does before its first test."""
    if os.environ.get("TMPDIR") or not os.access(memory, os.W_OK | os.X_OK) or shutil.disk_usage(memory).free < MEMORY_FREE:
        return tempfile.gettempdir()
    return str(memory)


class Tree:
    """A scratch tree of one lab. Building again after other files were put in is incremental."""

    def __init__(self, lab, walls=None, root=ROOT, ref=None, needs_from_work=True,
                 environment=None):
        self.lab = lab
        self.walls = walls
        self.ref = ref
        self.root = Path(root)
        self.path = Path(tempfile.mkdtemp(prefix="zeno-build-", dir=place_of_trees()))
        self.pristine = self.root / "labs" / lab.dir
        self.environment = environment or (walls.environment(self.path) if walls else own_environment())
        self.store = objects.Store(self.root, self.environment)
        self._others = None
        try:
            self._copy(needs_from_work)
        except OSError:
            self.remove()
            raise

    def remove(self):
        """Take the tree away."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _copy(self, needs_from_work):
        for entry in sorted(self.root.iterdir()):
            if entry.name in LEFT_OUT or entry.name == "grade" or entry.is_symlink():
                continue
            self._copy_entry(entry, self.path / entry.name)
        shutil.rmtree(self.path / ENDS, ignore_errors=True)  # an .incbin would have the reference's functions, and jump there
        (self.path / "grade" / "labs").mkdir(parents=True)
        for name in GRADE_KEPT:
            if (self.root / "grade" / name).is_file():
                (self.path / "grade" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.root / "grade" / name, self.path / "grade" / name)
        for data in sorted((self.root / "grade" / "labs").glob("*.toml")):
            (self.path / "grade" / "labs" / data.name).write_text(manifest_part(data.read_text()))
        for kind in ("labs", "solutions"):
            (self.path / kind).mkdir()
            for folder in sorted(self._folders(kind, needs_from_work)):
                self._copy_entry(folder, self.path / kind / folder.name)
        if not self.pristine.is_dir():
            raise BuildTrouble(f"labs/{self.lab.dir} is not here: `make skeletons` writes it")

    def _folders(self, kind, needs_from_work):
        """Lab folders that go along: all skeletons; solutions but for the graded lab's.

        Only who grades at home may take exercises of the graded lab itself from the reference.
        """
        if not (self.root / kind).is_dir():
            return []
        wanted = {word.split(".")[0] for word in (self.ref or "").split()}
        if kind == "solutions" and str(self.lab.number) in wanted and self.walls is None:
            return [folder for folder in (self.root / kind).iterdir() if folder.is_dir()]
        return [folder for folder in (self.root / kind).iterdir() if folder.is_dir()
                and (kind == "labs" or folder.name != self.lab.dir)
                and (kind == "solutions" or needs_from_work
                     or folder.name == self.lab.dir
                     or not (self.root / "solutions" / folder.name).is_dir())]

    @staticmethod
    def _copy_entry(entry, target):
        if entry.is_dir():
            shutil.copytree(entry, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc",
                                                                         "mutants"))
        else:
            shutil.copy2(entry, target)

    def put(self, files):
        """Lay the pristine skeleton, then the submission's files over it.

        A file is written only if its bytes change, so that make sees what to do again.
        """
        target = self.path / "labs" / self.lab.dir
        for path in sorted(self.pristine.rglob("*")):
            if path.is_file():
                name = str(path.relative_to(self.pristine))
                self._write(target / name, files.get(name, path.read_bytes()))
        for name, data in files.items():
            self._write(target / name, data)

    @staticmethod
    def _write(path, data):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)

    def sources(self, files):
        """A hash of all that a build with these files is made from, compilers included."""
        self.put(files)
        lab = f"labs/{self.lab.dir}/"
        if self._others is None:  # the rest of the tree stays as it is
            hashes = objects.Hashes(self.path)
            names = [name for name in hashes.below(".") if not name.startswith(("build/", lab))]
            self._others = hashes.all(names, self.store.key + f"{self.lab.name} {self.ref}".encode())
        hashes = objects.Hashes(self.path)
        return hashes.all(hashes.below(lab), self._others.encode())

    def build(self, files, out, alone=""):
        """Build the lab with these files; the images are copied to `out`. An Image.

        `alone`: catch-up objects stand in for the files that don't hold this exercise.
        """
        self.put(files)
        self.store.lay(self.path, self.walls)
        command = self._command(*(f"build/{VARIANT}/{name}" for name in ("zeno.mb", *self._own())), alone=alone)
        if self.walls:
            self.walls.own(self.path)
            done = self.walls.run(command, self.path)
        else:
            done = self._make(command)
            self.store.keep(self.path)
        if done.trouble:
            raise BuildTrouble(done.trouble)
        if done.status and shutil.disk_usage(self.path).free < LITTLE:
            raise BuildTrouble(f"{self.path.parent} is full, so nothing can be built there; TMPDIR names another place")
        log = cap_log(done.output.replace(str(self.path) + "/", ""))
        image = Image(done.status == 0, log, files=dict(files), late=done.late,
                      notes=list(self.walls.gaps) if self.walls else [])
        if image.ok:
            self._take_images(image, Path(out))
        return image

    def _own(self):
        """The guests that the lab has files in, below the variant's folder."""
        return [f"guest/{name}.elf" for name in self.lab.guests]

    def _command(self, *goals, alone=""):
        command = ["make", "--no-print-directory", "-j2", f"LAB={self.lab.name}", f"VARIANT={VARIANT}",
                   f"STORE={objects.OBJECTS}", *goals]
        return command + [f"REF={self.ref}"] * bool(self.ref) + [f"ALONE={alone}"] * bool(alone)

    def _make(self, command):
        return sandbox.run(command, self.path, self.environment | {"TMPDIR": tempfile.gettempdir()})

    def build_shared(self):
        """Compile what is nobody's exercise, for the builds behind walls. That it fails is theirs to say."""
        self.store.lay(self.path, self.walls)
        self._make(self._command("shared"))
        self.store.keep(self.path)

    def build_guests(self, out):
        """Build what is nobody's exercise: guests and boot sectors. Their folder below `out`.

        Done by the grader itself, never behind the walls, so that no submission has a hand in it. Guests that the lab has
        files in come from a tree with the reference's; where that is not here, the export has them, compiled.
        """
        if self.lab.guests and (self.root / "solutions" / self.lab.dir).is_dir():
            whole = Tree(self.lab, None, self.root, str(self.lab.number), environment=self.environment)
            try:
                whole.store.guests(whole.path, Path(out), whole.make_guests)
            finally:
                whole.remove()
        else:
            self.store.guests(self.path, Path(out), self.make_guests)
        for path in (self.root / ENDS).glob("*.elf"):
            shutil.copy2(path, Path(out) / "guest" / path.name)
        return Path(out) / "guest"

    def make_guests(self):
        """All guests and boot sectors, in this tree."""
        done = self._make(["make", "--no-print-directory", "-j2", "guests", "boot"])
        if done.trouble or done.status:
            raise BuildTrouble(done.trouble or "the guests do not build:\n" + done.output)

    def _take_images(self, image, out):
        out.mkdir(parents=True, exist_ok=True)
        made = self.path / "build" / VARIANT
        for name in ("zeno.elf", "zeno.mb", *self._own()):
            try:
                data = sandbox.take_file(made / name, IMAGE_CAP, name)
            except ValueError as error:
                image.ok = False
                image.log += f"\nThe build ended well, but {error}.\n"
                return
            target = out / name.replace("guest/", "own/")
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(data)
        image.elf, image.mb = out / "zeno.elf", out / "zeno.mb"
        image.own = out / "own" if self.lab.guests else None
