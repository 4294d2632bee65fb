# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of strata-mount, the executable that takes fuse-overlayfs's command line.

The executable under test is $STRATA_MOUNT. Everything is mounted in namespaces of the test's own: for an
ordinary user those where the user is root, with one id. test_as_fuse.py compares with fuse-overlayfs itself.
"""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from calling import Result, executable
from fixtures import (  # noqa: F401
    layer,
    make_tar,
    no_leaks,
    pytest_configure,
    pytest_runtest_makereport,
    store,
    strata,
    strata_binary,
)

HERE = Path(__file__).parent
ROOT = os.geteuid() == 0
# An ordinary user may not open /dev/fuse on a machine without udev, and podman's runc wants root.
collect_ignore = [] if ROOT else ["test_as_fuse.py", "test_podman.py"]


@pytest.fixture(scope="session")
def mount_binary():
    return executable("STRATA_MOUNT", "strata-mount executable")


# --- directories that become layers ------------------------------------------------------------------


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


@pytest.fixture
def directories(tmp_path):
    """directories(top={...}, bottom={...}) makes them, and an upper, a work and a target `at`."""

    def make(**layers):
        for name in ("upper", "work", "at"):
            if name not in layers:
                Path(tmp_path, name).mkdir(exist_ok=True)
        for name, entries in layers.items():
            make_directory(tmp_path / name, entries)
        return tmp_path

    return make


# --- calling it --------------------------------------------------------------------------------------


class Mounter:
    """Runs shell scripts in fresh namespaces, where $PROGRAM (and `mnt`, the same) mounts."""

    def __init__(self, binary, home, tmp_path):
        self.binary, self.cwd = binary, tmp_path
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "TMPDIR": str(tmp_path / "tmp"),
            "LANG": "C.UTF-8",
            "STRATA_STORE": str(tmp_path / "store"),
            "SHOW": f"/usr/bin/python3 {shlex.quote(str(HERE / 'show_tree.py'))}",
        }

    def namespaces(self):
        user = () if ROOT else ("--user", "--map-root-user")
        return ("unshare", *user, "--mount", "--propagation", "private")

    def __call__(self, script, program=None, env=None, **options):
        program = str(program or self.binary)
        prefix = f"PROGRAM={shlex.quote(program)}\nmnt() {{ \"$PROGRAM\" \"$@\"; }}\n"
        # An array, as an exit status must be the script's.
        done = subprocess.run(
            (*self.namespaces(), "sh", "-c", prefix + script),
            capture_output=True, text=True, errors="surrogateescape", timeout=60,
            env={**self.env, **(env or {})}, cwd=options.pop("cwd", self.cwd), stdin=subprocess.DEVNULL, **options,
        )  # fmt: skip
        return Result(done.args, done.returncode, done.stdout, done.stderr)

    def tree(self, options, program=None, script="", no_times=False):
        """What the mount with `-o OPTIONS` shows, after `script` ran in it."""
        flags = "--no-times" if no_times else ""
        if program and "fuse" in str(program):
            flags += " --devices"
        steps = [f"mnt -o {shlex.quote(options)} at || exit", f"cd at && {{ {script or ':'}\n}} >&2; cd .."]
        steps += [f"$SHOW at {flags} || exit", "umount at"]
        return json.loads(self("\n".join(steps), program).ok().stdout)

    def flags(self, options, program=None):
        """The options of the mount, of mountinfo."""
        script = f"mnt -o {shlex.quote(options)} at || exit; tail -n 1 /proc/self/mountinfo; umount at"
        return set(self(script, program).ok().stdout.split()[5].split(","))


@pytest.fixture
def mount(mount_binary, strata, tmp_path):
    return Mounter(mount_binary, strata.home, tmp_path)
