# SPDX-License-Identifier: Apache-2.0
"""Which files elements overwrite of each other, as BuildStream finds it by staging one after the other.

It goes by how each artifact spells a path: usr/lib/x and lib/x are different files to it, whatever lib is. And it
does not count a link that leads to a directory as overwritten. What an overlay cannot show as BuildStream would is
the reason to stage by BuildStream's own means.
"""

import os
import stat

from . import places
from .session import wanted_set

_KIND = "sets"


class Report:
    """Of a list of layers, of which `names` are staged in one go: (path, [names that have it, bottom first])."""

    def __init__(self, overlaps, obstacle):
        self.overlaps = overlaps
        self.obstacle = obstacle  # why an overlay does not do; None


def find(context, store, items, first):
    """`items[first:]` are staged by one call. From what was kept of an earlier run, where that is possible."""
    name = places.digest([items, first])
    kept = places.read_kept(context, _KIND, name)
    if kept is None:
        kept = _analyse(wanted_set(store, items).overlaps(), items, first)
        places.keep(context, _KIND, name, kept, items)
    return Report(kept["overlaps"], kept["obstacle"])


def _analyse(overlaps, items, first):
    told = []
    for overlap in overlaps:
        if overlap.conflict:
            return {"overlaps": [], "obstacle": f"/{_plain(overlap)}: a file and a directory of other elements meet"}
        found = _Overlap(overlap, items)
        if found.obstacle:
            return {"overlaps": [], "obstacle": found.obstacle}
        members = [member for member in found.overwriting() if member >= first]
        if len(members) > 1:
            told.append((found.spelled, members))
    # As it comes upon them: element by element, and sorted within each.
    told.sort(key=lambda one: (one[1][1], one[0]))
    return {"overlaps": told, "obstacle": None}


def _plain(overlap):
    return overlap.path.lstrip("/")


class _Overlap:
    def __init__(self, overlap, items):
        self.path = _plain(overlap)
        self.items = items
        self.obstacle = None
        self.spelled = self.path
        self.modes = {}  # by member: those that have it under this name
        elsewhere = 0
        for member in overlap.members:
            item = items[member]
            inside = inside_view(item, self.path)
            mode = _mode(os.path.join(item.path, inside)) if item.path and inside is not None else None
            if mode is None:
                elsewhere += 1
                continue
            self.modes[member] = mode
            self.spelled = inside
            if stat.S_ISDIR(mode):
                self.obstacle = f"/{self.path}: a directory where another element has a file"
        if elsewhere > 1 or (elsewhere and not items[overlap.members[0]].path):
            self.obstacle = f"/{self.path}: several elements have it through a link"

    def overwriting(self):
        """The members that have it, from the first that is overwritten by another."""
        members = sorted(self.modes)
        told = []
        below = None
        for member in members:
            if below is not None and not self._leads_to_directory(below, member):
                told = told or [below]
                told.append(member)
            below = member
        return told

    def _leads_to_directory(self, member, before):
        """Whether the link of `member` leads to a directory when `before` is staged."""
        if not stat.S_ISLNK(self.modes[member]):
            return False
        item = self.items[member]
        target = os.readlink(os.path.join(item.path, inside_view(item, self.path)))
        target = os.path.normpath(os.path.join("/", os.path.dirname(self.path), target)).lstrip("/")
        for other in self.items[:before]:
            inside = inside_view(other, target)
            if other.path and inside is not None and os.path.isdir(os.path.join(other.path, inside)):
                return True
        return False


def inside_view(item, path):
    """What a path of the root is called in the layer; None where it cannot be in it."""
    if not item.view:
        return path
    prefix = item.view[len("at=") :].strip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _mode(path):
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
