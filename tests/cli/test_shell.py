"""`strata shell` at a terminal: a prompt, job control, and the terminal as it was afterwards."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest
import waiting


class Terminal:
    """A program that has a terminal of its own, as its session's leader."""

    def __init__(self, strata, command):
        self.master, slave = pty.openpty()
        self.slave = slave  # kept open: its settings are looked at after the program has ended
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 1000, 0, 0))  # no line is broken
        self.seen = b""
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=strata.environment({"TERM": "dumb"}), cwd=strata.home,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern, seconds=waiting.PATIENCE):
        """Reads until `pattern`; what was read before it is forgotten. Returns the match."""
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern.encode(), self.seen)
            if match:
                self.seen = self.seen[match.end():]
                return match
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} in {seconds} s, only {self.seen!r}"
            if select.select([self.master], [], [], min(left, 0.2))[0]:
                self.seen += os.read(self.master, 65536)
            else:
                assert self.process.poll() is None or match, f"it ended before {pattern!r}: {self.seen!r}"

    def run(self, command, pattern):
        """Types a command whose output, not its echo, must match."""
        self.type(command + "\n")
        self.expect(re.escape(command))
        return self.expect(pattern)

    def foreground(self):
        """The name of the program that the keys go to."""
        try:
            return Path(f"/proc/{os.tcgetpgrp(self.master)}/comm").read_text().strip()
        except OSError:
            return ""

    def end(self):
        self.type("exit 7\n")
        return self.process.wait(waiting.PATIENCE)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def open_terminal(strata):
    opened = []

    def start(command):
        opened.append(Terminal(strata, command))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@pytest.fixture
def shell(strata, base, open_terminal):
    """`strata shell base` with its first prompt read."""
    terminal = open_terminal(strata.command("shell", "base"))
    terminal.expect(r"# ")
    return terminal


def test_is_a_shell_in_the_root_with_the_shells_status(shell):
    shell.run("cat /usr/share/greeting", "hello")
    assert shell.end() == 7


def test_has_a_terminal(shell):
    shell.run("test -t 0 && test -t 1 && echo ter''minal", "terminal")
    assert shell.end() == 7


def test_ctrl_c_ends_the_job_and_not_the_shell(shell):
    shell.run("sleep 1000; echo status $?", "")
    waiting.until(lambda: shell.foreground() == "sleep")
    shell.type("\x03")
    shell.run("echo still $((40+2))", "still 42")
    assert shell.process.poll() is None
    assert shell.end() == 7


def test_background_jobs_are_listed_and_brought_back(shell):
    shell.type("sleep 1000 &\n")
    shell.run("jobs", "Running.*sleep 1000")
    shell.run("fg", "sleep 1000")
    waiting.until(lambda: shell.foreground() == "sleep")
    shell.type("\x03")
    shell.run("echo still $((40+2))", "still 42")
    assert shell.end() == 7


def test_ctrl_z_stops_the_job_and_not_strata(shell):
    shell.run("sleep 1000", "")
    waiting.until(lambda: shell.foreground() == "sleep")
    shell.type("\x1a")
    shell.run("jobs", "Stopped.*sleep 1000")
    assert waiting.state(shell.process.pid) != "T"
    shell.run("bg; jobs", "Running|sleep 1000")
    shell.run("kill %1; echo still $((40+2))", "still 42")
    assert shell.end() == 7


@pytest.mark.parametrize("end", ["exits", "is killed"])
def test_the_terminal_is_as_it_was_when_the_shell(strata, base, open_terminal, end):
    terminal = open_terminal(strata.command("shell", "base"))
    before = termios.tcgetattr(terminal.slave)
    terminal.expect(r"# ")
    if end == "exits":
        terminal.run("stty -echo; echo do''ne", "done")
        assert terminal.end() == 7
    else:
        # It reads a line in raw mode.
        waiting.until(lambda: termios.tcgetattr(terminal.slave)[3] != before[3])
        os.kill(waiting.descendants(terminal.process.pid)[1], signal.SIGKILL)
        assert terminal.process.wait(waiting.PATIENCE) == 137
    assert termios.tcgetattr(terminal.slave) == before


def test_the_shell_that_started_it_has_the_terminal_back(strata, base, open_terminal):
    outer = open_terminal(["/bin/busybox", "sh", "-i"])
    outer.expect(r"[#$] ")
    outer.run(" ".join(strata.command("shell", "base")), r"/ # ")
    outer.run("cat /usr/share/greeting", "hello")
    outer.type("exit 5\n")
    outer.expect(r"/home [#$] ")
    outer.run("echo inner $?", "inner 5")
    # Job control of the outer one works: it is in the foreground.
    outer.run("sleep 1000", "")
    waiting.until(lambda: outer.foreground() == "sleep")
    outer.type("\x03")
    outer.run("echo outer $((40+2))", "outer 42")
    assert outer.end() == 7


@pytest.mark.leaves_files
def test_everything_is_gone_when_the_terminal_is(shell):
    shell.type("sleep 1000 & setsid sleep 1000 &\n")
    inside = waiting.until(lambda: waiting.at_least(4, waiting.descendants(shell.process.pid)))
    shell.process.send_signal(signal.SIGHUP)
    shell.process.wait(waiting.PATIENCE)
    waiting.until(lambda: all(map(waiting.gone, inside)))


def test_reads_a_script_from_stdin(strata, base):
    assert strata("shell", "base", input="echo $((40+2))\nexit 3\n").returncode == 3
    assert "42" in strata("shell", "base", input="echo $((40+2))\n").ok().stdout


def test_takes_the_options_of_run(strata, base, tmp_path):
    (tmp_path / "f").write_text("bound\n")
    done = strata("shell", "--bind", f"{tmp_path}/f:/f", "--hostname", "box", "base", input="cat /f; hostname\n").ok()
    assert "bound" in done.stdout and "box" in done.stdout


def test_a_root_without_a_shell_is_an_error_with_a_hint(strata, layer):
    layer("empty", {"etc/x": ""})
    strata("shell", "empty").fails(125, "no shell", "hint:")


def test_takes_no_command(strata, base):
    assert strata("shell", "base", "--", "ls").returncode == 125
