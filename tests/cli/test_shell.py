"""`strata shell` as people use it: a prompt, job control, and the terminal as it was afterwards.

What the terminal inside is like, and how it is relayed: test_terminal.py.
"""

import os
import signal

import pytest
import waiting


def test_is_a_shell_in_the_root_with_the_shells_status(shell):
    shell.run("cat /usr/share/greeting", "hello")
    assert shell.end() == 7


def test_has_a_terminal(shell):
    shell.run("test -t 0 && test -t 1 && echo ter''minal", "terminal")
    assert shell.end() == 7


def test_ctrl_c_ends_the_job_and_not_the_shell(shell):
    shell.run("sleep 1000; echo status $?", "")
    waiting.until(lambda: shell.foreground_inside() == "sleep")
    shell.type("\x03")
    shell.run("echo still $((40+2))", "still 42")
    assert shell.process.poll() is None
    assert shell.end() == 7


def test_background_jobs_are_listed_and_brought_back(shell):
    shell.type("sleep 1000 &\n")
    shell.run("jobs", "Running.*sleep 1000")
    shell.run("fg", "sleep 1000")
    waiting.until(lambda: shell.foreground_inside() == "sleep")
    shell.type("\x03")
    shell.run("echo still $((40+2))", "still 42")
    assert shell.end() == 7


def test_ctrl_z_stops_the_job_and_not_strata(shell):
    shell.run("sleep 1000", "")
    waiting.until(lambda: shell.foreground_inside() == "sleep")
    shell.type("\x1a")
    shell.run("jobs", "Stopped.*sleep 1000")
    assert waiting.state(shell.process.pid) != "T"
    shell.run("bg; jobs", "Running|sleep 1000")
    shell.run("kill %1; echo still $((40+2))", "still 42")
    assert shell.end() == 7


@pytest.mark.parametrize("end", ["exits", "is killed"])
def test_the_terminal_is_as_it_was_when_the_shell(strata, base, open_terminal, end):
    terminal = open_terminal(strata.command("shell", "base"))
    before = terminal.at_first
    terminal.expect(r"# ")
    if end == "exits":
        terminal.run("stty -echo; echo do''ne", "done")
        assert terminal.end() == 7
    else:
        assert terminal.is_raw()
        os.kill(waiting.descendants(terminal.process.pid)[1], signal.SIGKILL)
        assert terminal.process.wait(waiting.PATIENCE) == 137
    assert terminal.settings() == before


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
