# SPDX-License-Identifier: Apache-2.0
"""Hardlinks to files that an overlay shows.

BuildStream links what it collects in a sandbox; across the overlay's mount that would be a copy. So the link is made
to the file that the overlay shows: one that was written there, or one of a layer, which is the artifact's file that
BuildStream's own staging would have linked. What is linked from the whole root to a directory in it, as compose elements
do, goes to a plain directory that is mounted there, because a link in an overlay is a copy of the file as well.
"""

import functools
import os
import shutil
import stat

from buildstream import utils

from . import namespace, session


def wrap_link_files(original):
    def link_files(src, dest, *, files=None, ignore_missing=False, report_written=False):
        place = session.find(src.rstrip(os.sep))
        if place is not None and session.containing(dest) is place:
            place.mount_plain(dest)
        return original(src, dest, files=files, ignore_missing=ignore_missing, report_written=report_written)

    return link_files


def wrap_safe_link(original):
    def safe_link(src, dest, *, result=None):
        source, target = session.containing(src), session.containing(dest)
        plain = target.plain_path(dest) if target is not None else dest
        if source is not None and plain is not None:
            src, dest = shown_file(source, src) or src, plain
        original(src, dest, result=result)

    return safe_link


def wrap_force_rmtree(original):
    def _force_rmtree(rootpath, **kwargs):
        # What is mounted would be removed file by file, by a mark for each.
        for place in session.below(rootpath):
            place.end()
            _directory.cache_clear()
        original(rootpath, **kwargs)

    return _force_rmtree


def wrap_checkout_hardlinks(original):
    """BuildStream renames the root, if it can; what is mounted there is linked instead, as it is."""

    def _checkout_hardlinks(self, sandbox_root, directory):
        place = session.find(sandbox_root)
        if place is not None and utils.safe_remove(directory):
            _clone(place, sandbox_root, directory)
        else:
            original(self, sandbox_root, directory)

    return _checkout_hardlinks


def wrap_assemble(original):
    """Of a failed build BuildStream leaves the sandbox, for whoever wants to look into it: as links, like its own."""

    def _assemble(self):
        try:
            return original(self)
        except BaseException:
            for place in session.all_of_them():
                try:
                    _leave(place)
                except (OSError, utils.UtilError) as problem:
                    self.warn("What is left of the build cannot be kept", detail=str(problem))
            raise

    return _assemble


def _leave(place):
    kept = os.path.join(place.scratch, "kept")
    # Whoever may not read or enter something, may have it linked.
    with namespace.privileged():
        _clone(place, place.root, kept)
        place.leave(kept)


def _clone(place, source, target):
    """A tree of hardlinks to what the root shows at `source`."""
    os.mkdir(target)
    for entry in os.scandir(source):
        copy = os.path.join(target, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), copy)
        elif entry.is_dir():
            _clone(place, entry.path, copy)
        elif entry.is_file():
            utils.safe_link(shown_file(place, entry.path) or entry.path, copy)
        else:  # a FIFO, a socket: only where it was made
            os.link(os.path.join(place.upper, os.path.relpath(entry.path, place.root)), copy)
    shutil.copystat(source, target)


def shown_file(place, path):
    """The regular file that the overlay shows at `path`, where it lies; None where it must be copied."""
    plain = place.plain_path(path)
    if plain is not None:
        return plain
    directory = _directory(os.path.dirname(path))
    if not (directory + "/").startswith(place.root + "/"):
        return None
    relative = os.path.join(directory[len(place.root) + 1 :], os.path.basename(path))
    for at, top in enumerate([place.upper, *reversed(place.lowers)]):
        candidate = os.path.join(top, relative)
        try:
            mode = os.lstat(candidate).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISREG(mode):
            return None
        # One that was copied up has a mark of it, which must not get into an artifact.
        return None if at == 0 and _has_attributes(candidate) else candidate
    return None


def _has_attributes(path):
    try:
        return bool(os.listxattr(path, follow_symlinks=False))
    except OSError:  # a file system without any
        return False


@functools.lru_cache(maxsize=256)
def _directory(path):
    return os.path.realpath(path)
