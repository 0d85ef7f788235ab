"""The course's own tools, which the grader shares: how labs, regions and hints are read is written once, in tools/."""

import importlib
import sys
from pathlib import Path

GRADE = Path(__file__).resolve().parent.parent.parent
ROOT = GRADE.parent


def tool(name, root=ROOT):
    """A module of tools/."""
    folder = str(Path(root) / "tools")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)
