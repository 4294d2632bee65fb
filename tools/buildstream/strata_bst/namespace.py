# SPDX-License-Identifier: Apache-2.0
"""A mount namespace of one's own, so that an overlay can be mounted where BuildStream has its sandboxes.

An ordinary user needs a user namespace for that. The own ids are mapped to themselves, so that files look as
before; and the capabilities that come with it are put aside except while something is mounted, so that modes are
obeyed as before too. Programs that are started get none of them.
"""

import contextlib
import ctypes
import os
import signal

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
MNT_DETACH = 2
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_entered = False
_has_user_namespace = False


def entered():
    """Whether this process, or the one that forked it, is in there."""
    return _entered


def _check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _capabilities(effective):
    """Makes every permitted capability effective, or none."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: twice 32 bits of each
    _check(_libc.capget(header, data), "capget")
    for word in (0, 3):
        data[word] = data[word + 1] if effective else 0
    _check(_libc.capset(header, data), "capset")


def enter():
    """For a process of one thread. OSError where the machine does not allow it; then nothing has changed."""
    global _entered, _has_user_namespace  # pylint: disable=global-statement
    if _entered:
        return
    uid, gid = os.geteuid(), os.getegid()
    flags = CLONE_NEWNS if uid == 0 else CLONE_NEWNS | CLONE_NEWUSER
    _check(_libc.unshare(flags), "unshare")
    _entered = True
    if uid != 0:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
        _has_user_namespace = True
    # Mounts made here stay here; what the host unmounts, goes here too.
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None), "mount --make-rslave /")
    if uid != 0:
        _capabilities(False)


@contextlib.contextmanager
def privileged():
    """May mount, meanwhile."""
    if not _has_user_namespace:
        yield
        return
    _capabilities(True)
    try:
        yield
    finally:
        _capabilities(False)


def die_with_parent():
    pr_set_pdeathsig = 1
    _check(_libc.prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0), "prctl")


def mount_overlay(lowers, upper, work, target):
    """lowers: bottom first."""

    def escaped(path):
        return os.fsencode(path).replace(b"\\", b"\\\\").replace(b":", b"\\:").replace(b",", b"\\,")

    options = b"userxattr,volatile,lowerdir=%s,upperdir=%s,workdir=%s" % (
        b":".join(map(escaped, reversed(lowers))),
        escaped(upper),
        escaped(work),
    )
    with privileged():
        _check(_libc.mount(b"overlay", os.fsencode(target), b"overlay", 0, options), f"mount overlay at {target}")


def mount_tmpfs(target):
    with privileged():
        _check(_libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", 0, b"mode=0755"), f"mount tmpfs at {target}")


def bind(source, target):
    with privileged():
        _check(_libc.mount(os.fsencode(source), os.fsencode(target), None, MS_BIND, None), f"bind {source} at {target}")


def unmount(target):
    """A process that was left behind does not keep the directory busy."""
    with privileged():
        if _libc.umount2(os.fsencode(target), 0) != 0:
            _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")
