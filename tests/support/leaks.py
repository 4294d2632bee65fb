# SPDX-License-Identifier: Apache-2.0
"""What a test may not leave behind: processes, mounts, files."""

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

# Directories of a store that are empty when no strata runs, clean scratches (mode 1700) apart
# (cache/format.md).
TRANSIENT = ("stages", "tmp", "trash")


def children():
    """{pid: command line} of the processes below this one, dead ones that nobody waits for taken away."""
    found = {}
    me = os.getpid()
    for entry in Path(f"/proc/{me}/task").iterdir():
        try:
            pids = (entry / "children").read_text().split()
        except OSError:
            continue  # a thread that has ended; its children are now another one's
        for pid in map(int, pids):
            try:
                if os.waitpid(pid, os.WNOHANG)[0] == pid:
                    continue
            except ChildProcessError:
                continue
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found[pid] = line.strip()
    return found


def wait_for_children(known, seconds):
    """The children that are not in `known` after they have had `seconds` to end."""
    until = time.monotonic() + seconds
    while True:
        left = {pid: line for pid, line in children().items() if pid not in known}
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.01)


def mounts_under(path):
    """The lines of this process's mountinfo that mention `path`."""
    # mountinfo writes white space as octal escapes.
    needle = str(path).replace("\\", "\\134").replace(" ", "\\040")
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    return [line for line in lines if needle in line]


def remove_tree(path):
    """Removes a tree with directories that even their owner may not enter, as layers can have."""
    for directory, names, _ in os.walk(path, topdown=True):
        for name in names:
            child = os.path.join(directory, name)
            with contextlib.suppress(PermissionError):
                if not os.path.islink(child) and os.stat(child).st_mode & 0o700 != 0o700:
                    os.chmod(child, 0o700)
    shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):  # what the subordinate ids of --userns=subuid own
        subprocess.run(["unshare", "--map-root-user", "--map-auto", "rm", "-rf", path], check=False)
