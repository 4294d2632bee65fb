# SPDX-License-Identifier: Apache-2.0
"""Prints a directory as JSON: {path: what lstat, readlink, the content and the attributes say}.

Run inside the namespace where the directory is mounted. Numbers that differ from one mount to another
(inodes, links of directories, sizes of directories) are left out.
"""

import hashlib
import json
import os
import stat
import sys


def describe(path):
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    told = [oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns]
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            told += [st.st_size, st.st_nlink, hashlib.sha256(file.read()).hexdigest()]
    elif kind == stat.S_IFLNK:
        told.append(os.readlink(path))
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        told.append(st.st_rdev)
    names = [name for name in os.listxattr(path, follow_symlinks=False) if not hidden(name)]
    return told + sorted((name, os.getxattr(path, name, follow_symlinks=False).hex()) for name in names)


def hidden(name):
    """What an overlay keeps for itself: some show it, some do not."""
    return name.startswith(("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs."))


def show(root, with_times):
    found = {}
    for directory, names, files in os.walk(root):
        for name in [".", *names, *files] if directory == root else [*names, *files]:
            path = os.path.normpath(os.path.join(directory, name))
            told = describe(path)
            if not with_times:
                del told[3]
            found[os.path.relpath(path, root)] = told
    # One st_dev for all, or find -xdev and tar --one-file-system leave files out.
    devices = {os.lstat(os.path.join(root, path)).st_dev for path in found}
    return found, len(devices)


if __name__ == "__main__":
    with_times = "--no-times" not in sys.argv
    tree, devices = show(sys.argv[1], with_times)
    assert devices == 1 or "--devices" in sys.argv, f"{devices} values of st_dev"
    json.dump(tree, sys.stdout, sort_keys=True)
