"""A disk that is full, a tree that can't be written, a reader that has gone: no bug of ours, and said in one line."""

import errno
import os
import sys
from pathlib import Path


def words(error):
    """What an OSError says to a person."""
    import shutil  # pylint: disable=import-outside-toplevel  # no build reads it, unless it fails
    if isinstance(error, shutil.Error):  # of copying a tree: a list of all that went wrong
        return str(error.args[0][0][-1] if error.args and error.args[0] else error)
    said = (error.strerror or str(error)).lower()
    if error.filename:
        return f"{error.filename}: {said}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{said}: temporary files go to {os.environ.get('TMPDIR') or '/tmp'} (TMPDIR), results below build/"
    return said


def guarded(main, file=None, status=1):
    """Run a program's main(); its status, or `status` behind one line."""
    try:
        result = main()
        sys.stdout.flush()
        return result
    except BrokenPipeError:  # who read our words has enough of them
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"{Path(sys.argv[0]).name.removesuffix('.py')}: {words(error)}", file=file or sys.stderr)
        return status


def plain(main, least=0, most=0):
    """guarded() for a program whose words are a few names: no option is taken for one of them."""
    words = sys.argv[1:]
    about = sys.modules["__main__"].__doc__.strip()
    if words in (["-h"], ["--help"]):
        print(about)
        return 0
    if not least <= len(words) <= most or any(word.startswith("-") for word in words):
        print(about.split("\n", maxsplit=1)[0], file=sys.stderr)
        return 2
    return guarded(main)


def short_folder(prefix):
    """A temporary folder in which a socket's path is short enough: the kernel takes 107 bytes."""
    import tempfile  # pylint: disable=import-outside-toplevel
    place = tempfile.gettempdir()
    return tempfile.TemporaryDirectory(prefix=prefix, dir="/tmp" if len(os.fsencode(place)) > 70 else place)
