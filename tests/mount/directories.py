# SPDX-License-Identifier: Apache-2.0
"""Directories that become layers."""

import os
from pathlib import Path


class Opaque:
    """A directory with the attribute NAME that hides what lies below."""

    def __init__(self, name):
        self.name = name


class Dir:
    def __init__(self, mode=0o755, uid=None, xattrs=None):
        self.mode, self.uid, self.xattrs = mode, uid, xattrs or {}


class Whiteout:
    """The kernel's: a character device 0:0."""


def make_directory(place, entries):
    """A directory of `entries`: name -> text, None (a directory), or one of the classes above. The names may have
    parents that are not named. Times are all the same."""
    made = [place]
    os.makedirs(place)
    for name, entry in entries.items():
        path = Path(place, name)
        for parent in reversed(path.parents):
            if not parent.exists():
                parent.mkdir()
                made.append(parent)
        if isinstance(entry, str):
            path.write_text(entry)
        elif isinstance(entry, Whiteout):
            os.mknod(path, 0o20600, 0)
        else:
            path.mkdir(exist_ok=True)
        made.append(path)
    for name, entry in entries.items():
        path = Path(place, name)
        if isinstance(entry, Opaque):
            os.setxattr(path, entry.name, b"y")
        if isinstance(entry, Dir):
            for key, value in entry.xattrs.items():
                os.setxattr(path, key, value)
            if entry.uid is not None:
                os.chown(path, entry.uid, entry.uid)
            path.chmod(entry.mode)
    for path in made:
        if not path.is_symlink():
            os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return Path(place)
