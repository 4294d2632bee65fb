# SPDX-License-Identifier: Apache-2.0
"""Hardlinks to files that an overlay shows.

BuildStream links what it collects in a sandbox; across the overlay's mount that would be a copy. So the link is made
to the file that the overlay shows: one that was written there, or one of a layer, which is the artifact's file that
BuildStream's own staging would have linked. What is linked from the whole root to a directory in it, as compose elements
do, goes to a plain directory that is mounted there, because a link in an overlay is a copy of the file as well; and that
directory, which BuildStream would link once more to the artifact, becomes the artifact's.
"""

import contextlib
import functools
import os
import shutil
import stat

from buildstream import utils

from . import namespace, session

_remembered = None  # by directory, what _places gives; None: not now


def wrap_link_files(original):
    def link_files(src, dest, *, files=None, ignore_missing=False, report_written=False):
        place = session.find(src.rstrip(os.sep)) or session.containing(src)
        if place is None:
            return original(src, dest, files=files, ignore_missing=ignore_missing, report_written=report_written)
        if files is None and _collects(place, dest) and _is_as_linked(place.plain.get(src)) and place.move_plain(src, dest):
            return utils.FileListResult()
        if place.root == src.rstrip(os.sep) and session.containing(dest) is place:
            place.mount_plain(dest)
        with _remembering(place, dest):
            return original(src, dest, files=files, ignore_missing=ignore_missing, report_written=report_written)

    return link_files


def _collects(place, directory):
    """Whether that is where BuildStream puts the files of the artifact together, as the last thing done to the root."""
    return directory == os.path.join(os.path.dirname(place.root), "artifact", "files")


def _is_as_linked(directory):
    """Whether linking it file by file would give the same once more: that changes absolute links, and refuses devices."""
    if directory is None:
        return False
    to_do = [directory]
    try:
        for path in to_do:
            for entry in os.scandir(path):
                if entry.is_dir(follow_symlinks=False):
                    to_do.append(entry.path)
                elif entry.is_symlink():
                    if os.path.isabs(os.readlink(entry.path)):
                        return False
                elif not entry.is_file():
                    return False
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _remembering(place, dest):
    """Where the files of each directory lie is looked up once, while nothing is written to the overlay."""
    global _remembered  # pylint: disable=global-statement
    if session.containing(dest) is not place or place.plain_path(dest + "/"):
        _remembered = {}
        _directory.cache_clear()
    try:
        yield
    finally:
        _remembered = None


def wrap_safe_link(original):
    def safe_link(src, dest, *, result=None):
        source, target = session.containing(src), session.containing(dest)
        plain = target.plain_path(dest) if target is not None else dest
        if source is not None and plain is not None:
            src, dest = shown_file(source, src) or src, plain
            try:
                # There is nothing at `dest` in most cases, and one call does.
                os.link(src, dest)
                return
            except OSError:
                pass
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
            with _remembering(place, directory):
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
        with _remembering(place, kept):
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
    directory, name = os.path.split(path)
    places = _remembered.get(directory) if _remembered is not None else None
    if places is None:
        places = _places(place, directory)
        if _remembered is not None:
            _remembered[directory] = places
    for at in places:
        candidate = f"{at}/{name}"
        try:
            mode = os.lstat(candidate).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            return None
        # One that was copied up has a mark of it, which must not get into an artifact.
        return None if candidate.startswith(place.upper + "/") and _has_attributes(candidate) else candidate
    return None


def _places(place, directory):
    """What the overlay merges to that directory of the root, topmost first; where it leads out of it, nothing."""
    real = _directory(directory)
    if not (real + "/").startswith(place.root + "/"):
        return []
    relative = real[len(place.root) + 1 :]
    found = [os.path.join(top, relative).rstrip("/") for top in (place.upper, *reversed(place.lowers))]
    return [path for path in found if os.path.isdir(path)]


def _has_attributes(path):
    try:
        return bool(os.listxattr(path, follow_symlinks=False))
    except OSError:  # a file system without any
        return False


@functools.lru_cache(maxsize=256)
def _directory(path):
    above, name = os.path.split(path)
    if name in ("", ".", "..") or os.path.islink(path):
        return os.path.realpath(path)
    return os.path.join(_directory(above), name)
