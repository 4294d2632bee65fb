# SPDX-License-Identifier: Apache-2.0
"""Calling bwrap, with descriptors among its arguments."""

import os
import subprocess

from calling import Result, text_of

# The whole host with a /tmp of its own, as bubblewrap's suite has it.
HOST = ("--bind", "/", "/", "--tmpfs", "/tmp")


class Fd(int):
    """A descriptor among the arguments of a call: it is passed on to the executable."""


class Bwrap:
    """Calls the executable in an environment that has only what the test gives it."""

    def __init__(self, binary, home, tmp):
        self.binary, self.home, self.tmp = binary, home, tmp
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "TMPDIR": str(tmp),
            "LANG": "C.UTF-8",
        }
        self.env.update((k, v) for k, v in os.environ.items() if k.endswith("SAN_OPTIONS"))
        self._open = []

    # --- descriptors, closed when the test is over

    def own(self, fd):
        self._open.append(fd)
        return Fd(fd)

    def data(self, content):
        """A descriptor from which `content` can be read, once."""
        fd = os.memfd_create("data")
        os.write(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
        return self.own(fd)

    def open(self, path, flags=os.O_RDONLY):
        return self.own(os.open(path, flags))

    def pipe(self):
        read, write = os.pipe()
        return self.own(read), self.own(write)

    def close(self, fd):
        self._open.remove(fd)
        os.close(fd)

    def close_all(self):
        for fd in self._open:
            os.close(fd)

    # --- calls

    def _popen(self, args, env, cwd, popen):
        passed = {int(arg) for arg in args if isinstance(arg, Fd)} | set(popen.pop("pass_fds", ()))
        merged = {**self.env, **(env or {})}
        return {
            "args": [os.fspath(a) if isinstance(a, (os.PathLike, bytes)) else str(a) for a in (self.binary, *args)],
            "env": {name: str(value) for name, value in merged.items() if value is not None},
            "cwd": cwd or self.home,
            "pass_fds": sorted(passed),
            **popen,
        }

    def __call__(self, *args, input=None, env=None, cwd=None, timeout=300, **popen):
        """Runs it to its end. `input` is text; none means an empty stdin."""
        if input is None:
            popen.setdefault("stdin", subprocess.DEVNULL)
        else:
            popen["input"] = input.encode()
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        done = subprocess.run(**self._popen(args, env, cwd, popen), timeout=timeout)
        return Result(done.args, done.returncode, text_of(done.stdout), text_of(done.stderr))

    def start(self, *args, env=None, cwd=None, **popen):
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(**self._popen(args, env, cwd, popen))

    def sh(self, script, *options, **kwargs):
        """A shell script on the host's root; see HOST."""
        return self(*HOST, *options, "sh", "-c", script, **kwargs)

    def mounts(self, *options, **kwargs):
        """What is mounted in the sandbox, outermost last: {mount point: (options, type)}."""
        found = {}
        for line in self(*options, "cat", "/proc/self/mountinfo", **kwargs).ok().out.splitlines():
            fields = line.split()
            dash = fields.index("-")
            found[fields[4]] = (set(fields[5].split(",")), fields[dash + 1])
        return found
