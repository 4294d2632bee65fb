"""Programs at a terminal: what is typed, what is shown."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

import waiting


class Terminal:
    """A program that has a terminal of its own, as its session's leader."""

    def __init__(self, strata, command, **popen):
        self.master, slave = pty.openpty()
        self.slave = slave  # kept open: its settings are looked at after the program has ended
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 1000, 0, 0))  # no line is broken
        self.seen = b""
        self.at_first = self.settings()  # before the program may have changed them
        self.process = subprocess.Popen(
            command, env=strata.environment({"TERM": "dumb"}), cwd=strata.home, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            **{"stdin": slave, "stdout": slave, "stderr": slave, **popen},
        )

    def type(self, text):
        self.write(text.encode())

    def write(self, data):
        """Also what is more than the terminal takes at once; what it shows meanwhile is kept."""
        while data:
            readable, writable, _ = select.select([self.master], [self.master], [], waiting.PATIENCE)
            assert readable or writable, f"the terminal takes no more; {len(data)} bytes are left"
            if readable:
                self.seen += os.read(self.master, 65536)
            if writable:
                data = data[os.write(self.master, data[:1024]):]

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def settings(self):
        return termios.tcgetattr(self.slave)

    def is_raw(self):
        return not self.settings()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

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
        return self._comm(os.tcgetpgrp(self.master))

    def foreground_inside(self):
        """The same of the terminal that the shell in the sandbox has."""
        try:
            shell = waiting.descendants(self.process.pid)[1]
            return self._comm(int(Path(f"/proc/{shell}/stat").read_text().rpartition(")")[2].split()[5]))
        except (OSError, IndexError):
            return ""

    @staticmethod
    def _comm(pid):
        try:
            return Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return ""

    def end(self):
        self.type("exit 7\n")
        return self.process.wait(waiting.PATIENCE)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.hang_up()
        os.close(self.slave)

    def hang_up(self):
        """As a terminal window that is closed."""
        if self.master >= 0:
            os.close(self.master)
        self.master = -1
