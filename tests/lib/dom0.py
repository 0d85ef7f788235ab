"""dom0's shell, as tests type to it: configuration files, and what is typed behind which prompt."""

import re
import subprocess
import sys

from harness import TOOLS, folder

sys.path.insert(0, str(TOOLS))
import mkfiles  # noqa: E402

PROMPT = "0# "
ENDS = (PROMPT, "")  # behind a command that makes a domain: the prompt of its end


def shell(*lines):
    return [(PROMPT, line + "\n") for line in lines]


def start(mem, *steps):
    """dom0, and what is typed there: behind each prompt a text."""
    words = "|".join(f"{prompt}|{text}" for prompt, text in steps)
    return f"start dom0 mem={mem} module=files -- input=" + words.replace(" ", "~").replace("\n", "_")


def shown(text, *names):
    """dom0's console as it shows it: without the mark that Zeno puts before dom0's lines, nor dom0's before those of the domains
    of these names."""
    within = f"(?:(?:{'|'.join(map(re.escape, names))})\\| )?" if names else ""
    return re.sub(rf"^d1\| {within}", "", text, flags=re.M)


def says(text, domain=r"\d+"):
    """The lines that the guest of this number has said to Zeno, whoever else has a line between them; without a number, all guests'."""
    return re.findall(rf"^d{domain}\| (.*)$", text, re.M)


def config(name, **keys):
    """A domain's file, as bytes; a list is one there, too."""
    return "".join(f"{key} = {value!r}\n" for key, value in ({"name": name, "memory": 8} | keys).items()).encode()


def archive(**files):
    """The RAM disk with these files; where it is."""
    to = folder() / "files.cpio"
    to.write_bytes(mkfiles.archive(files))
    return to


def ext2(size, **files):
    """An image with these files."""
    tree, image = folder() / "tree", folder() / "ext2"
    for name, data in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    done = subprocess.run(["mke2fs", "-q", "-F", "-t", "ext2", "-d", tree, image, size], capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return image.read_bytes()
