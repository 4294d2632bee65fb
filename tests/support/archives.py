# SPDX-License-Identifier: Apache-2.0
"""Trees that tests import: what is in them, and archives of it."""

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

BUSYBOX = "/bin/busybox"
# What the shell scripts in tests may use. A link for each, as in any root that has busybox.
APPLETS = (
    "sh true false ls cat cp mv rm ln mkdir rmdir chmod chown touch echo printf env id pwd sleep stat "
    "find grep sed head tail wc sort tee test mkfifo mknod mount umount hostname kill ps readlink "
    "realpath sha256sum tar dd seq ip nc setsid stty sync truncate uname unshare xargs"
).split()
# Of every entry that the fixtures make, so that the same tree has the same layer id in every run.
MTIME = 1_600_000_000


class Dir:
    """A directory, where its mode or owner matters. (A directory may also be written as None.)"""

    def __init__(self, mode=0o755, uid=0, gid=0):
        self.mode, self.uid, self.gid = mode, uid, gid


class File:
    def __init__(self, content=b"", mode=0o644, uid=0, gid=0, xattrs=None):
        self.content = content.encode() if isinstance(content, str) else content
        self.mode, self.uid, self.gid, self.xattrs = mode, uid, gid, xattrs or {}


class Symlink:
    def __init__(self, target):
        self.target = target


class Hardlink:
    """To another entry of the same archive, by its path there."""

    def __init__(self, target):
        self.target = target


class Special:
    """A fifo (tarfile.FIFOTYPE) or a device (CHRTYPE, BLKTYPE)."""

    def __init__(self, kind, major=0, minor=0, mode=0o644):
        self.kind, self.major, self.minor, self.mode = kind, major, minor, mode


def tar_info(name, entry, mtime=MTIME):
    """The tar header of one entry, and the content that follows it (None where there is none)."""
    info = tarfile.TarInfo(name)
    info.mtime = mtime
    info.mode = getattr(entry, "mode", 0o777 if isinstance(entry, Symlink) else 0o644)
    info.uid, info.gid = getattr(entry, "uid", 0), getattr(entry, "gid", 0)
    if isinstance(entry, Dir):
        info.type = tarfile.DIRTYPE
    elif isinstance(entry, Symlink):
        info.type, info.linkname = tarfile.SYMTYPE, entry.target
    elif isinstance(entry, Hardlink):
        info.type, info.linkname = tarfile.LNKTYPE, entry.target
    elif isinstance(entry, Special):
        info.type, info.devmajor, info.devminor = entry.kind, entry.major, entry.minor
    else:
        info.size = len(entry.content)
        info.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in entry.xattrs.items()}
        return info, io.BytesIO(entry.content)
    return info, None


def write_tar(path, entries, mtime=MTIME, mode="w"):
    """Writes the archive `path` (mode "w:gz" compresses) of `entries`: name -> what it is.

    A str or bytes is a plain file, None a directory, and the classes above are the rest. Nothing is
    added: a parent that is not named has no entry. Names and order are taken as they are, so that
    hostile archives can be made too.
    """
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:
        for name, entry in entries.items():
            if entry is None:
                entry = Dir()
            elif isinstance(entry, (str, bytes)):
                entry = File(entry)
            archive.addfile(*tar_info(name, entry, mtime))
    return Path(path)


def base_entries():
    """A root that is one static busybox: enough for a shell, and imported in milliseconds."""
    if not os.access(BUSYBOX, os.X_OK):
        pytest.exit(f"{BUSYBOX} is missing: tools/setup installs it (busybox-static)", returncode=3)
    entries = {
        "bin": None,
        "bin/busybox": File(Path(BUSYBOX).read_bytes(), mode=0o755),
        "etc": None,
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "root": Dir(0o700),
        "usr": None,
        "usr/share": None,
        "usr/share/greeting": "hello\n",
        "var": None,
        "var/tmp": Dir(0o1777),
    }
    entries.update((f"bin/{applet}", Symlink("busybox")) for applet in APPLETS)
    return entries


def tree(root):
    """What is in a directory: {relative path: (kind, mode, content or target)}, for comparing trees."""
    found = {}
    for path in sorted(Path(root).rglob("*")):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            value = ("link", None, os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            value = ("file", mode, path.read_bytes())
        elif stat.S_ISDIR(status.st_mode):
            value = ("dir", mode, None)
        else:
            value = ("special", mode, os.major(status.st_rdev) * 256 + os.minor(status.st_rdev))
        found[str(path.relative_to(root))] = value
    return found
