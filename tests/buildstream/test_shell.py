# SPDX-License-Identifier: Apache-2.0
"""bst shell: where a build happens, and where what was built runs."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from sides import same
from small import write_small
from terminals import Terminal
from trees import LIST_ROOT, write_element, write_import
from waiting import PATIENCE, descendants, until


def write(top):
    write_small(
        top,
        "shell:",
        "  environment: {GREETING: hello}",
        "  host-files: [/etc/hostname, {path: /opt/hosts, host_path: /etc/hosts}, {path: /nowhere, optional: true}]",
    )
    write_element(
        top,
        "fails",
        "manual",
        "config:\n  build-commands:\n  - echo made > made; echo installed > %{install-root}/it\n  - cat made; exit 7\n",
        build=["lib"],
        source={"given": "given\n"},
    )
    write_import(top, "bare", {"x": "x\n"}, "public: {bst: {integration-commands: ['true']}}\n")


@pytest.fixture(scope="module")
def built(make_pair, place):
    pair = make_pair(place)
    pair.write(write)
    pair.bst("build", "other.bst", "bare.bst", status=0)
    return pair


@pytest.mark.parametrize(
    "words",
    [
        ["app.bst", "--", "cat", "/usr/bin/app", "/etc/cache", "/opt/hosts"],
        ["app.bst", "--", "sh", "-c", "echo $GREETING; id; pwd; touch /x; touch /tmp/x; exit 3"],
        ["--isolate", "app.bst", "--", "sh", "-c", "echo ${GREETING:-none}; id; hostname; ls /opt; cat /proc/net/dev | wc -l"],
        ["--build", "app.bst", "--", "sh", "-c", "pwd; ls -l | wc -l; cat a.c; touch made; ls; touch /x; touch %{install-root} 2>&1; exit 5"],
        ["--build", "--isolate", "app.bst", "--", "sh", "-c", "env | sort; ls -a / /buildstream-install"],
        ["app.bst", "--", "no-such-command"],
        ["app.bst", "--", "sh", "-c", "kill -9 $$"],
        ["app.bst", "--", "sh", "-c", LIST_ROOT],
        ["--build", "app.bst", "--", "sh", "-c", LIST_ROOT],
        ["nosuch.bst"],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_a_command_sees_and_does_the_same(built, words):
    built.same_messages(*built.bst("shell", *words))


def test_its_exit_status_is_that_of_the_command(built):
    built.bst("shell", "app.bst", "--", "sh", "-c", "exit 42", status=42)


def test_files_of_the_host_are_mounted(built):
    for side in built.sides:
        (side.home / "host").mkdir()
        (side.home / "host/file").write_text("of the host\n")
    plain, strata = built.bst(
        "shell", "--mount", lambda side: side.home / "host", "/mnt/dir", "--mount", lambda side: side.home / "host/file", "/etc/passwd",
        "app.bst", "--", "sh", "-c", "cat /mnt/dir/file /etc/passwd; echo written > /mnt/dir/new; ls -la /mnt | wc -l",
    )  # fmt: skip
    built.same_messages(plain, strata)
    assert plain.out.count("of the host") == 2
    assert all((side.home / "host/new").read_text() == "written\n" for side in built.sides)


def test_nothing_of_a_shell_stays(built):
    built.bst("shell", "--build", "app.bst", "--", "sh", "-c", "echo x > left; echo y > /tmp/left")
    # bst leaves the root of a command that it did not find.
    assert not list((built.strata.cache / "build").glob("app-*"))
    plain, strata = built.bst("shell", "--build", "app.bst", "--", "ls", status=0)
    assert "left" not in plain.out + strata.out


@pytest.mark.parametrize("words", [["shell", "bare.bst", "--", "ls"], ["checkout", "bare.bst", "out"]], ids=lambda words: words[0])
def test_nothing_stays_where_integration_fails(built, words):
    plain, strata = built.bst(*words)
    assert strata.status != 0 and "FAILURE" in strata.err
    built.same_messages(plain, strata)
    assert not list((built.strata.cache / "build").glob("bare-*"))


def test_what_is_left_when_a_shell_is_killed_can_be_removed(built):
    side = built.strata
    shell = side.start("shell", "app.bst", "--", "sleep", "1000")
    until(lambda: any(command(pid) == b"sleep\x001000\x00" for pid in descendants(shell.pid)), "sleep")
    for pid in [shell.pid, *descendants(shell.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    side.end(shell)
    (left,) = (side.cache / "build").glob("app-*")
    until(lambda: subprocess.run(["rm", "-rf", left], check=False, capture_output=True).returncode == 0, f"rm -rf {left}")


def test_what_failed_can_be_entered(built):
    ended = built.bst("build", "fails.bst")
    built.same_messages(*ended)
    assert ended[0].status != 0
    kept = {}
    for side in built.sides:
        (kept[side],) = (side.cache / "build").glob("fails-*")
    script = "cat made given; cat /buildstream-install/it /etc/cache; ls; exit 9"
    entered = built.bst("shell", "--build", "--sysroot", lambda side: kept[side], "fails.bst", "--", "sh", "-c", script, status=9)
    same(*(side.out for side in entered))
    assert entered[1].out.startswith("made\ngiven\ninstalled\nlibx\n") or "made\ngiven" in entered[1].out
    # Again: it is kept until the user removes it. And people look at it from outside.
    built.bst("shell", "--build", "--sysroot", lambda side: kept[side], "fails.bst", "--", "test", "-e", "/usr/lib/libx", status=0)
    same(*((kept[side] / "root/buildstream-install/it").read_text() for side in built.sides))
    same(*((kept[side] / "root/buildstream/test/fails.bst/made").read_text() for side in built.sides))
    same(*(sorted(path.name for path in (kept[side] / "root").iterdir()) for side in built.sides))


def test_a_checkout_can_be_entered(built, tmp_path):
    # BuildStream looks for the root below the directory that it is given.
    built.bst("checkout", "app.bst", lambda side: tmp_path / side.name / "root", status=0)
    ended = built.bst("shell", "--sysroot", lambda side: tmp_path / side.name, "app.bst", "--", "cat", "/usr/bin/app", status=0)
    same(*(side.out for side in ended))


def test_it_is_interactive_on_a_terminal(built):
    def talk(side):
        words = [word for word in side.words("shell", "app.bst") if word != "--no-interactive"]
        terminal = Terminal(side, words)
        try:
            terminal.expect(r"\]\$ ")
            terminal.run("cat /etc/cache; tty", r"libx[^$]*/dev/")
            terminal.type("sleep 1000\n")
            until(lambda: any(command(pid) == b"sleep\x001000\x00" for pid in descendants(terminal.process.pid)), "sleep")
            terminal.write(b"\x03")
            terminal.expect(r"\]\$ ")
            terminal.run("echo sum $((40 + 2))", r"sum 42")
            terminal.type("exit 6\n")
            return terminal.process.wait(PATIENCE)
        finally:
            terminal.close()

    assert built.each(talk) == [6, 6]


def command(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
