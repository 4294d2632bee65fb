# SPDX-License-Identifier: Apache-2.0
"""bst shell, in a process of its own: the one that runs bst may have threads, and more to do, outside of a namespace."""

import contextlib
import os
import pickle
import signal
import sys
import traceback

from buildstream import utils
from buildstream._exceptions import BstError, SandboxError

from . import namespace


def wrap(original):
    def _shell(self, scope=None, directory=None, *, mounts=None, isolate=False, prompt=None, command=None):
        def run():
            return original(self, scope, directory, mounts=mounts, isolate=isolate, prompt=prompt, command=command)

        return run() if namespace.entered() else _in_namespace(run)

    return _shell


def _in_namespace(run):
    """What run() returns or raises, from a child in a namespace that has the terminal meanwhile."""
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    terminal = os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(run, writing, terminal)
    os.close(writing)
    said = _read_all(reading)
    _, status = os.waitpid(child, 0)
    if terminal:
        _take_terminal()
    if not said:
        raise SandboxError(f"The shell ended without a word: wait status {status}")
    succeeded, value = pickle.loads(said)
    if succeeded:
        return value
    raise value


def _read_all(fd):
    """Ctrl-C is for the shell."""
    said = b""
    with open(fd, "rb", buffering=0) as answer:
        while True:
            try:
                part = answer.read(65536)
                if not part:
                    return said
                said += part
            except KeyboardInterrupt:
                continue


def _child(run, writing, terminal):
    answer = (False, SandboxError("The shell could not be started"))
    try:
        namespace.die_with_parent()
        # The sandbox hands the terminal back to the leader of the group, by this process's id.
        if terminal:
            os.setpgid(0, 0)
            _take_terminal()
        utils._main_pid = os.getpid()
        with contextlib.suppress(OSError):  # staged by BuildStream's own means
            namespace.enter()
        answer = (True, run())
    except BstError as problem:
        answer = (False, problem)
    except BaseException:  # pylint: disable=broad-except
        answer = (False, SandboxError("The shell failed", detail=traceback.format_exc()))
    finally:
        os.write(writing, pickle.dumps(answer))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _take_terminal():
    handler = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, handler)
