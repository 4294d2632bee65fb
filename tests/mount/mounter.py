# SPDX-License-Identifier: Apache-2.0
"""Calling strata-mount and fuse-overlayfs."""

import json
import os
import shlex
import subprocess
from pathlib import Path

from calling import Result

HERE = Path(__file__).parent
ROOT = os.geteuid() == 0


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
            capture_output=True, text=True, errors="surrogateescape", timeout=300,
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
