"""Waiting for what other processes do, and looking at them; for the tests that start strata."""

import os
import select
import time
from pathlib import Path

PATIENCE = 120  # seconds, for a machine that is slow and busy; others need milliseconds


def until(condition, what="the condition", seconds=PATIENCE):
    """Calls `condition` until it gives something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.005)


def with_time_enough(run, ready, limits=("0.4", "5", "60")):
    """run(limit) under the first time limit that lets the command come so far that ready(result) is true."""
    for limit in limits:
        result = run(limit)
        if ready(result):
            return result
    raise AssertionError(f"not so far in {limit} s: {result}")


def read_until(process, text, seconds=PATIENCE):
    """Reads the stdout of a Popen until `text` (bytes) is in it; returns all that was read."""
    fd = process.stdout.fileno()
    read = b""
    end = time.monotonic() + seconds
    while text not in read:
        left = end - time.monotonic()
        assert left > 0, f"no {text!r} in {seconds} s, only {read!r}"
        if select.select([fd], [], [], left)[0]:
            more = os.read(fd, 65536)
            assert more, f"the end came before {text!r}, after {read!r}"
            read += more
    return read


def finish(process, seconds=PATIENCE):
    """Waits for a Popen to end: (status, stdout, stderr)."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def descendants(pid):
    """The pids below a process, itself left out, parents first. pid 1 of a sandbox is the first one."""
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    except OSError:
        pass  # it ended meanwhile
    return found


def at_least(count, found):
    """`found`, if it has that many; for `until`."""
    return found if len(found) >= count else None


def state(pid):
    """R, S, T, Z ...; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def gone(pid):
    return state(pid) in ("", "Z", "X")


def running(pids):
    """Those that are not zombies."""
    return [pid for pid in pids if not gone(pid)]
