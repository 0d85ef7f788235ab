"""Which flavour of a lab is here, where another lab needs "4 or 4s": the one that the student has done.

Where both are (in the course's own tree all is), both are. Where neither is, the one of which less is left to do.
"""

import compiled
import region


def left_to_do(lab):
    """The exercises of a lab that are as they were handed out, and that nothing stands in for."""
    if lab.solutions.is_dir():
        return set()
    stands_in, found = compiled.objects(lab.root, lab), set()
    for name in lab.source_names():
        try:
            regions = region.parse((lab.labs / name).read_text(errors="replace"), name) if name not in stands_in else []
        except (OSError, region.RegionError):
            continue
        found |= {one.exercise for one in regions if region.is_open(one)}
    return found


def fewest(left):
    """Of {lab: what of it is left to do} those labs with the least of it."""
    least = min(map(len, left.values()), default=0)
    return [lab for lab, todo in left.items() if len(todo) == least]
