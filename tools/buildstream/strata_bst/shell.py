# SPDX-License-Identifier: Apache-2.0
"""bst shell, in a process of its own: the one that runs bst may have threads, and so cannot enter a namespace.

In what is left of a failed build the root is mounted again, with what the build had written.
"""

import contextlib
import json
import os
import pickle
import signal
import sys
import traceback

from buildstream import utils
from buildstream._exceptions import BstError, SandboxError

import strata

from . import namespace, places
from .session import RECORD, Item, wanted_set


def wrap(original):
    def _shell(self, scope=None, directory=None, *, mounts=None, isolate=False, prompt=None, command=None):
        def run():
            mounted = _mount_again(self, directory) if directory else None
            try:
                return original(
                    self, scope, directory, mounts=mounts, isolate=isolate, prompt=prompt, command=command
                )
            finally:
                if mounted:
                    namespace.unmount(mounted)

        return run() if namespace.entered() else _in_namespace(run)

    return _shell


def _mount_again(element, directory):
    """The root directory of a failed build, if it was an overlay: with all that was written in it."""
    try:
        with open(os.path.join(directory, RECORD), encoding="utf-8") as file:
            record = json.load(file)
    except FileNotFoundError:
        return None
    root = os.path.join(directory, "root")
    work = os.path.join(directory, "scratch", f"strata-work-{os.getpid()}")
    try:
        if record["linked"]:
            lowers = [record["linked"]]
        else:
            items = [Item(*item) for item in record["items"]]
            composed = wanted_set(places.store(element._get_context()), items).compose()
            lowers = composed.lowers
        os.makedirs(work)
        namespace.mount_overlay(lowers, record["upper"], work, root)
    except (strata.Error, OSError) as problem:
        raise SandboxError(f"The root of the failed build cannot be shown: {problem}") from problem
    return root


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
