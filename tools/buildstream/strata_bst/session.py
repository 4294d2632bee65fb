# SPDX-License-Identifier: Apache-2.0
"""One sandbox root as an overlay: the layers it is made of, its mount, and what was written in it.

The root stays mounted at BuildStream's own sandbox directory, in the namespace of the job, so that all of
BuildStream sees there what it would see had the files been linked. What is written lies in the sandbox's scratch
directory. More layers, or the result of
integration commands, mean another mount at the same place; that is possible as long as only directories were made.
"""

import collections
import contextlib
import os
import shutil

from buildstream import utils
from buildstream._exceptions import SandboxError

import strata

from . import namespace, places

# A layer: an unmanaged directory with its key and view, or (with neither path nor view) one of the store by its id.
Item = collections.namedtuple("Item", "path key view")

_sessions = {}  # by the sandbox's root directory


def find(root):
    """The Session at a sandbox's root directory; None where it is a plain one."""
    return _sessions.get(root)


def below(path):
    """The Sessions in a directory."""
    prefix = path.rstrip("/") + "/"
    return [session for root, session in _sessions.items() if root.startswith(prefix)]


def all_of_them():
    return list(_sessions.values())


def containing(path):
    """The Session that shows `path`."""
    for root, session in _sessions.items():
        if path.startswith(root + "/"):
            return session
    return None


def wanted_set(store, items):
    wanted = store.set()
    for item in items:
        if item.path:
            wanted.add_directory(item.path, item.key, item.view)
        else:
            wanted.add(item.key)
    return wanted


def directories_only(top, most=64):
    """The directories below `top`, parents first; None where anything else is there, or more than that."""
    found = []
    to_do = [""]
    for relative in to_do:
        for entry in os.scandir(os.path.join(top, relative)):
            if not entry.is_dir(follow_symlinks=False) or len(found) == most:
                return None
            found.append(os.path.join(relative, entry.name))
            to_do.append(found[-1])
    return found


def _open_work(work):
    """What overlayfs has made in it has the mode 0; where this process is killed, its owner could not remove it."""
    with contextlib.suppress(OSError):
        for path in ("work", "work/incompat", "work/incompat/volatile"):
            os.chmod(os.path.join(work, path), 0o700)


class Session:
    def __init__(self, sandbox):
        self.context = sandbox._get_context()
        self.root = sandbox.get_directory()
        self.scratch = sandbox._get_scratch_directory()
        self.items = []
        self.integrated = []  # names of the commands that were run on these items, in order
        self.upper = None
        self.lowers = []
        self.linked = None  # of a root that BuildStream has staged: where its files are
        self.plain = {}  # directories in the root that are no part of the overlay: where they lie
        self._inside = []  # what is mounted in the root, in order
        self._mounts = 0
        self._tmpfs = []
        self._root = self._stage = None

    def store(self):
        return places.store(self.context)

    def show(self, items):
        """Mounts the layers in the place of those that are there. What was written must be directories only."""
        made = self.made() if self.upper else []
        composed = wanted_set(self.store(), items).compose()
        replaces = self._take_away()
        try:
            self._in_scratch(lambda directory: self._mount(composed, directory))
        except (strata.Error, OSError) as problem:
            if replaces:
                raise SandboxError(f"The staged root is lost: {problem}") from problem
            raise
        self.items = list(items)
        self._make_again(made)

    def _make_again(self, directories):
        """Parents first. None through a link that a layer has in the place of one, which may lead out."""
        top = os.path.realpath(self.root) + "/"
        for path in directories:
            place = os.path.join(self.root, path)
            if (os.path.realpath(os.path.dirname(place)) + "/").startswith(top) and not os.path.lexists(place):
                os.mkdir(place)

    def _mount(self, composed, directory):
        stage = composed.stage(upper="directory", directory=directory)
        with namespace.privileged():
            stage.mount_at(self.root)
        self._root, self._stage, self.lowers = composed, stage, composed.lowers
        return self._find_upper(directory)

    def _in_scratch(self, mount):
        """mount(a new directory for what is written) -> the upper. In memory, where the file system cannot hold one."""
        directory = self._new_directory()
        try:
            self.upper = mount(directory)
        except (strata.Error, OSError):
            directory = self._new_directory()
            namespace.mount_tmpfs(directory)
            try:
                self.upper = mount(directory)
            except BaseException:
                namespace.unmount(directory)
                raise
            self._tmpfs.append(directory)
        _open_work(os.path.join(os.path.dirname(self.upper), "work"))
        _sessions[self.root] = self

    def _new_directory(self):
        # overlayfs does not take what another mount had.
        directory = os.path.join(self.scratch, f"strata-{self._mounts}")
        self._mounts += 1
        os.mkdir(directory)
        return directory

    def guard(self):
        """Mounts an overlay above what BuildStream has staged here by hardlinks, so that nothing is written to them."""
        self.linked = os.path.join(self.scratch, "linked")
        os.rename(self.root, self.linked)
        os.mkdir(self.root)
        self.lowers = [self.linked]
        try:
            self._in_scratch(self._mount_guard)
        except OSError as problem:
            raise SandboxError(f"Nothing here can hold what a command writes to the root: {problem}") from problem

    def _mount_guard(self, directory):
        upper, work = os.path.join(directory, "upper"), os.path.join(directory, "work")
        os.mkdir(upper)
        os.mkdir(work)
        namespace.mount_overlay(self.lowers, upper, work, self.root)
        return upper

    def unguard(self):
        """The reverse, for BuildStream to stage more."""
        made = self.made()
        self._take_away()
        os.rmdir(self.root)
        os.rename(self.linked, self.root)
        self.linked = None
        self._make_again(made)

    def mount_plain(self, path):
        """A plain directory in the place of one that was made in the root and is empty; else nothing is done."""
        relative = os.path.relpath(path, self.root)
        if path in self.plain or any(True for _ in os.scandir(path)):
            return
        if any(os.path.lexists(os.path.join(lower, relative)) for lower in self.lowers):
            return
        plain = os.path.join(self.scratch, f"strata-plain-{len(self._inside)}")
        os.mkdir(plain)
        namespace.bind(plain, path)
        self._inside.append(path)
        self.plain[path] = plain

    def move_plain(self, path, to):
        """Moves the plain directory that is mounted at `path` to that empty one, where it still shows. Whether it did."""
        try:
            os.rename(self.plain[path], to)
        except OSError:  # another file system, or there is something
            return False
        self.plain[path] = to
        return True

    def guard_plain(self):
        """Before commands run: what was linked to plain directories are the artifacts' own files."""
        for path in list(self.plain):
            directory = os.path.join(self.scratch, f"strata-{self._mounts}")
            self._mounts += 1
            upper, work = os.path.join(directory, "upper"), os.path.join(directory, "work")
            for made in (directory, upper, work):
                os.mkdir(made)
            shutil.copystat(self.plain[path], upper)
            namespace.mount_overlay([self.plain[path]], upper, work, path)
            _open_work(work)
            self._inside.append(path)
            del self.plain[path]

    def plain_path(self, path):
        """Where a file in a plain directory lies; None where it is in none."""
        for top, plain in self.plain.items():
            if path.startswith(top + "/"):
                return plain + path[len(top) :]
        return None

    @staticmethod
    def _find_upper(directory):
        for path, names, _ in os.walk(directory):
            if "upper" in names:
                return os.path.join(path, "upper")
        raise FileNotFoundError(f"{directory} has no upper")

    def made(self):
        """The directories that were made in it, if nothing else was, so that it can be mounted anew; else None."""
        return None if self._inside else directories_only(self.upper)

    def capture(self):
        """What was written since, as a layer of the store: its id; None where nothing was. Unmounts."""
        changed = any(True for _ in os.scandir(self.upper))
        self.upper = None
        stage, self._stage = self._stage, None
        tmpfs, self._tmpfs = self._tmpfs, []
        self._take_away()
        try:
            if not changed:
                return None
            # A command may have made what its owner may not read.
            with namespace.privileged(), stage.capture() as layer:
                # The root that is shown next is leased, and needs it.
                return layer.id
        finally:
            stage.close()
            for directory in tmpfs:
                namespace.unmount(directory)

    def _take_away(self):
        """Whether there was something."""
        mounted = _sessions.pop(self.root, None) is not None
        for path in reversed(self._inside):
            namespace.unmount(path)
        self.plain, self._inside = {}, []
        if mounted:
            namespace.unmount(self.root)
        for handle in (self._stage, self._root):
            if handle:
                handle.close()
        self._stage = self._root = None
        for directory in self._tmpfs:
            namespace.unmount(directory)
        self._tmpfs = []
        return mounted

    def end(self):
        """Unmounts, and removes what was written."""
        self._take_away()

    def discard(self):
        """Removes the whole sandbox, of which nothing is wanted."""
        self._take_away()
        utils._force_rmtree(os.path.dirname(self.root))

    def leave(self, tree):
        """Puts a plain directory, in the scratch, in the place of the mount."""
        linked = self.linked
        self._take_away()
        os.rmdir(self.root)
        os.rename(tree, self.root)
        if linked:
            shutil.rmtree(linked)
        for name in os.listdir(self.scratch):
            if name.startswith("strata-"):
                shutil.rmtree(os.path.join(self.scratch, name))
