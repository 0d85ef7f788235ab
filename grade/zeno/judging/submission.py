"""What is taken out of a submission: the manifest's files, and nothing else.

A submission is an archive from `make submit` or a folder. A file counts if it is a regular file,
not too long, and lies where `make submit` puts it: at the top, or in one folder. Links, devices,
names with `..` and everything that the manifest does not name are left where they are.
"""

import hashlib
import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .build import SOURCE_CAP
from .sandbox import take_file

MEMBERS_CAP = 2000
ARCHIVE_CAP = 64 << 20
NOTES_CAP = 20
LINE_CAP = 4096
"""Characters of a line: who looks for words in a file takes time by the square of its longest line. `make submit` packs none that is
longer."""


class SubmissionError(Exception):
    """There is nothing to be graded; the text says why."""


@dataclass
class Submission:
    """The files that were taken, and in words what was not."""

    files: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    manifest: str = ""

    def note(self, text):
        """Remember what was left out; a hostile archive can't make the list long."""
        if len(self.notes) < NOTES_CAP:
            self.notes.append(text)

    def hints(self):
        """{exercise: hints opened}, where the student has left them in."""
        lines = (line.split() for line in self.manifest.splitlines()[:MEMBERS_CAP])
        return {words[1]: words[2] for words in lines if len(words) == 3 and words[0] == "hints"}

    def sums(self):
        """{name: SHA-256} of what was taken."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(self.files.items())}


def shown(name):
    """A member's name for a report."""
    return repr(str(name)[:80])


def _wanted(name, lab):
    """The manifest's name that a path stands for, or None."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return None
    parts = [part for part in path.parts if part != "."]
    places = (1, 2) if parts[:1] != ["labs"] else (3,)
    if len(parts) not in places or not parts:
        return None
    if parts[:1] == ["labs"] and parts[1] != lab.dir:
        return None
    return parts[-1] if parts[-1] in lab.handed_in or parts[-1] == "MANIFEST" else None


def _keep(found, name, data, where):
    if max(map(len, data.splitlines()), default=0) > LINE_CAP:
        found.note(f"not taken, a line has more than {LINE_CAP} characters: {shown(where)}")
    elif name == "MANIFEST":
        found.manifest = data.decode("utf-8", "replace")
    elif name in found.files:
        raise SubmissionError(f"the submission holds {name} twice ({shown(where)})")
    else:
        found.files[name] = data


def from_archive(path, lab):
    """A Submission from a tar archive, which is read without being unpacked."""
    found = Submission()
    if Path(path).stat().st_size > ARCHIVE_CAP:
        raise SubmissionError(f"the archive is larger than {ARCHIVE_CAP >> 20} MiB")
    try:
        with tarfile.open(path, mode="r:") as tar:
            for count, member in enumerate(tar):
                if count >= MEMBERS_CAP:
                    raise SubmissionError(f"the archive has more than {MEMBERS_CAP} members")
                _member(found, tar, member, lab)
    except SubmissionError:
        raise
    except Exception as error:  # pylint: disable=broad-except
        # Lengths that are no number that the machine has, names for names for names: tarfile raises what it likes.
        raise SubmissionError(f"no tar archive that `make submit` wrote: {error}") from None
    return found


def _member(found, tar, member, lab):
    name = _wanted(member.name, lab)
    if name is None:
        if not member.isdir():
            found.note(f"not taken, not in the manifest: {shown(member.name)}")
    elif not member.isreg() or member.issparse():
        found.note(f"not taken, no regular file: {shown(member.name)}")
    elif member.size > SOURCE_CAP:
        found.note(f"not taken, larger than {SOURCE_CAP >> 10} KiB: {shown(member.name)}")
    else:
        _keep(found, name, tar.extractfile(member).read(SOURCE_CAP), member.name)


def _below(path, *names):
    """A folder below another one, if no link leads there; None."""
    for name in names:
        path /= name
        if path.is_symlink() or not path.is_dir():
            return None
    return path


def from_folder(path, lab):
    """A Submission from a folder: an unpacked archive, or a whole tree with labs/ in it."""
    found = Submission()
    place = _below(path, "labs", lab.dir) or _below(path, f"zeno-lab{lab.name}") or path
    for name in [*lab.handed_in, "MANIFEST"]:
        spot = place / name
        if not spot.is_symlink() and not spot.exists():
            continue
        try:
            _keep(found, name, take_file(spot, SOURCE_CAP, name), spot)
        except ValueError as error:
            found.note(f"not taken: {error}")
    others = sorted(entry.name for entry in place.iterdir()
                    if entry.name not in lab.handed_in and entry.name != "MANIFEST")
    for name in others:
        found.note(f"not taken, not in the manifest: {shown(name)}")
    return found


def check_manifest(found, lab):
    """Is it for this lab, and are the files those that were packed?"""
    for line in found.manifest.splitlines()[:MEMBERS_CAP]:
        words = line.split()
        if words[:1] == ["lab"] and words[1:2] != [lab.name]:
            raise SubmissionError(f"this is a submission for lab {shown(' '.join(words[1:]))}, "
                                  f"not for lab {lab.name}")
        if words[:1] == ["sha256"] and len(words) == 4:
            data = found.files.get(words[3])
            if data is not None and hashlib.sha256(data).hexdigest() != words[1]:
                found.note(f"{words[3]} is not the file that MANIFEST describes")


def take(path, lab):
    """The Submission at a path. SubmissionError if there is none."""
    path = Path(path)
    if not path.exists():
        raise SubmissionError(f"{path} is not there")
    found = from_folder(path, lab) if path.is_dir() else from_archive(path, lab)
    check_manifest(found, lab)
    for name in lab.handed_in:
        if name not in found.files:
            found.note(f"{name} is missing: the skeleton's stands in for it")
    if not found.files:
        raise SubmissionError("it holds none of the files that are handed in: "
                              + ", ".join(lab.handed_in))
    return found
