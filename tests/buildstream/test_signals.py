# SPDX-License-Identifier: Apache-2.0
"""Interrupted, suspended, terminated and killed builds: nothing runs on, nothing stays mounted, the next build works."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from leaks import mounts_under
from sides import same
from small import write_small
from trees import write_element
from waiting import descendants, gone, state, until


def write_slow(top, seconds):
    write_element(
        top,
        "slow",
        "manual",
        f"config:\n  install-commands:\n  - echo begun > %{{install-root}}/begun; sleep {seconds}; cat /etc/cache > %{{install-root}}/done\n",
        build=["lib"],
    )


@pytest.fixture(scope="module")
def made(make_pair, place):
    pair = make_pair(place)
    pair.write(write_small)
    pair.bst("build", "app.bst", status=0)
    return pair


class Running:
    """A build that is in the middle of its command."""

    def __init__(self, side, seconds, *words):
        write_slow(side.project, seconds)
        self.side, self.process = side, side.start(*words, "build", "slow.bst")
        self.sleep = until(self.find, "the command to run")
        self.below = descendants(self.process.pid)

    def find(self):
        assert self.process.poll() is None, self.process.communicate()
        for pid in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep\0"):
                    return pid
        return None

    def all_gone(self):
        until(lambda: all(map(gone, self.below)), "all processes to end")
        return True

    def job(self):
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])


def after(side):
    """What is left of a build, and whether the next one works."""
    assert not mounts_under(side.home)
    left = sorted(path.name.rpartition("-")[0] for path in (side.cache / "build").iterdir())
    write_slow(side.project, 0)
    ended = side.bst("build", "slow.bst")
    assert ended.status == 0, ended
    return left, side.artifact(side.newest("slow"), "files")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_it(made, number):
    def work(side):
        running = Running(side, 1000)
        running.process.send_signal(number)
        ended = side.end(running.process)
        running.all_gone()
        return ended.status, ended.messages(), after(side)

    plain, strata = made.each(work)
    assert plain[0] == strata[0] != 0
    same(plain[1], strata[1])
    same(plain[2], strata[2])


def test_ctrl_c_reaches_the_whole_group(made):
    def work(side):
        running = Running(side, 1000)
        os.killpg(running.process.pid, signal.SIGINT)
        ended = side.end(running.process)
        running.all_gone()
        return ended.status, after(side)

    same(*made.each(work))


def test_suspended_it_stands_still_and_continued_it_ends(made):
    def work(side):
        running = Running(side, 2)
        os.killpg(running.process.pid, signal.SIGTSTP)
        # One that is told to go on before it has stopped, stops afterwards.
        until(lambda: state(running.job()) == "T", "the job to stop")
        until(lambda: state(running.process.pid) == "T", "bst to stop")
        until(lambda: state(running.sleep) == "T", "the command to stop")
        time.sleep(2.5)
        assert state(running.sleep) == "T"
        os.killpg(running.process.pid, signal.SIGCONT)
        ended = side.end(running.process)
        assert ended.status == 0, ended
        running.all_gone()
        return ended.messages(), after(side)

    same(*made.each(work))


def test_suspended_and_then_terminated(made):
    def work(side):
        running = Running(side, 1000)
        os.killpg(running.process.pid, signal.SIGTSTP)
        until(lambda: state(running.sleep) == "T", "the command to stop")
        # One that is told to go on before it has stopped, stops afterwards.
        until(lambda: state(running.job()) == "T", "the job to stop")
        until(lambda: state(running.process.pid) == "T", "bst to stop")
        os.killpg(running.process.pid, signal.SIGCONT)
        until(lambda: state(running.sleep) == "S", "the command to go on")
        running.process.terminate()
        ended = side.end(running.process)
        running.all_gone()
        left, artifact = after(side)
        # bst may kill a job that was stopped before that has cleaned up its own directory, and no more.
        assert set(left) <= {"slow"}
        return ended.status, artifact

    same(*made.each(work))


def test_a_job_that_is_killed_has_failed(made):
    def work(side):
        running = Running(side, 1000)
        os.kill(running.job(), signal.SIGKILL)
        ended = side.end(running.process)
        running.all_gone()
        return ended.status, after(side)[1]

    same(*made.each(work))


def test_killed_with_all_its_processes_it_leaves_nothing_in_the_way(made):
    def work(side):
        running = Running(side, 1000)
        for pid in [running.process.pid, *running.below]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        side.end(running.process)
        running.all_gone()
        return after(side)[1]

    same(*made.each(work))


def test_killed_at_any_moment_the_next_build_is_right(make_pair, tmp_path):
    """All of a build: importing, staging, integrating, running and storing, killed after 0 to 1.2 seconds."""
    pair = make_pair(tmp_path)
    pair.write(write_small)
    chance = random.Random(7)
    side = pair.strata
    for _ in range(10):
        process = side.start("build", "other.bst")
        time.sleep(chance.uniform(0, 1.2))
        for pid in [process.pid, *descendants(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()
    pair.bst("build", "other.bst", status=0)
    # Of a key that was half there its second half may be missing, as with bst: what is there is right.
    plain, strata = (side.refs() for side in pair.sides)
    assert set(strata) <= set(plain) and len(strata) >= 4
    for ref in strata:
        same(pair.plain.artifact(ref, "files"), side.artifact(ref, "files"))
