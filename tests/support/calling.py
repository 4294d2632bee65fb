# SPDX-License-Identifier: Apache-2.0
"""Calling the executable under test, and what it answered."""

import json
import os
import subprocess
from pathlib import Path

import pytest


def executable(variable, program):
    """The absolute path of the executable that the environment names; without it nothing is tested."""
    name = os.environ.get(variable)
    if not name:
        pytest.exit(f"{variable} is not set: it must name the {program} to test", returncode=3)
    path = Path(name).resolve()
    if not os.access(path, os.X_OK):
        pytest.exit(f"{variable}={name} is not an executable file", returncode=3)
    return path


class Result(subprocess.CompletedProcess):
    """A finished strata, with the assertions that nearly every test needs."""

    def ok(self):
        assert self.returncode == 0, self._told()
        return self

    def fails(self, status=None, *texts):
        """Asserts that it failed (with `status`, if given) and that stderr has each of `texts`."""
        assert self.returncode != 0, self._told()
        if status is not None:
            assert self.returncode == status, self._told()
        for text in texts:
            assert text in self.stderr, f"{text!r} is not in stderr: {self._told()}"
        return self

    @property
    def out(self):
        """stdout without the last newline."""
        return self.stdout[:-1] if self.stdout.endswith("\n") else self.stdout

    def json(self):
        self.ok()
        return json.loads(self.stdout)

    def _told(self):
        return (
            f"exit status {self.returncode} of: {' '.join(map(str, self.args))}\n"
            f"--- stdout\n{self.stdout}--- stderr\n{self.stderr}---"
        )


class Strata:
    """Calls the executable in an environment that has only what the test gives it."""

    def __init__(self, binary, store, home, tmp):
        self.binary = binary
        self.store = store
        self.home = home
        self.tmp = tmp
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "TMPDIR": str(tmp),
            "LANG": "C.UTF-8",
            "STRATA_STORE": str(store),
        }
        # Sanitizer options reach an instrumented build this way.
        self.env.update((k, v) for k, v in os.environ.items() if k.endswith("SAN_OPTIONS"))

    def command(self, *args):
        return [os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in (self.binary, *args)]

    def environment(self, env=None):
        """The environment of a call; a value of None in `env` takes the name away."""
        merged = {**self.env, **(env or {})}
        return {name: str(value) for name, value in merged.items() if value is not None}

    def __call__(self, *args, input=None, env=None, cwd=None, timeout=300, **popen):
        """Runs `strata ARGS...` to its end. `input` is text or bytes; none means an empty stdin."""
        if input is None:
            popen.setdefault("stdin", subprocess.DEVNULL)
        else:
            popen["input"] = input.encode("utf-8", "surrogateescape") if isinstance(input, str) else input
        done = subprocess.run(
            self.command(*args),
            stdout=popen.pop("stdout", subprocess.PIPE),
            stderr=popen.pop("stderr", subprocess.PIPE),
            env=self.environment(env),
            cwd=cwd or self.home,
            timeout=timeout,
            **popen,
        )
        return Result(done.args, done.returncode, text_of(done.stdout), text_of(done.stderr))

    def start(self, *args, env=None, cwd=None, **popen):
        """Starts `strata ARGS...` and returns the Popen: for tests that signal or kill it."""
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(
            self.command(*args), env=self.environment(env), cwd=cwd or self.home, **popen
        )

    def sh(self, script, *layers, options=(), **kwargs):
        """`strata run OPTIONS LAYERS -- /bin/sh -c SCRIPT`; the layers default to `base`."""
        return self("run", *options, *(layers or ("base",)), "--", "/bin/sh", "-c", script, **kwargs)


def text_of(data):
    # Paths in the output may be any bytes; they come back as os.fsdecode would give them.
    return (data or b"").decode("utf-8", "surrogateescape")
