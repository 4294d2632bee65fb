"""The terminal that a command in a sandbox has, and the caller's, which is relayed to it meanwhile."""

import hashlib
import os
import random
import signal
import subprocess
import time

import pytest
import waiting


# --- what it is ----------------------------------------------------------------------------------------


def test_has_a_name_and_all_streams_are_it(shell):
    shell.run("busybox tty", "/dev/pts/0")
    shell.run("for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done", r"(/dev/pts/0\r\n){3}")
    shell.run("echo to the term''inal > /dev/tty", "to the terminal")
    assert shell.end() == 7


def test_is_the_controlling_terminal_of_the_shells_own_session(shell):
    shell.run("busybox cut -d ' ' -f 1,6,7 /proc/$$/stat", r"2 2 34816")  # 136:0, which is pts/0
    shell.run("ps -o tty,comm", r"136,0\s+sh")
    assert shell.end() == 7


def test_knows_its_size_from_the_start_and_follows_the_callers(strata, base, open_terminal):
    terminal = open_terminal(strata.command("shell", "base"))
    terminal.expect(r"# ")
    terminal.run("stty size", "24 1000")
    assert terminal.end() == 7
    terminal = open_terminal(
        strata.command("run", "-t", "base", "--", "sh", "-c", "trap 'stty size; exit 3' WINCH; echo u''p; while :; do sleep 0.02; done")
    )
    terminal.expect("up")
    terminal.resize(50, 900)
    terminal.expect("50 900")
    assert terminal.process.wait(waiting.PATIENCE) == 3


def test_has_the_callers_settings(strata, base, open_terminal):
    outer = open_terminal(["/bin/busybox", "sh", "-i"])
    outer.expect(r"[#$] ")
    outer.run("stty -ixon -ixoff erase ^B", "")
    outer.run(" ".join(strata.command("run", "-t", "base", "--", "stty", "-a")), r"erase = \^B(?s:.*)-ixon(?s:.*)[#$] ")
    outer.run("stty sane", "")
    assert outer.end() == 7


def test_full_screen_programs_work(shell):
    shell.type("busybox vi /tmp/x\n")
    shell.expect("- /tmp/x")  # its status line
    shell.type("iwritten")
    shell.expect("I /tmp/x")
    shell.type("\x1b")
    shell.expect("- /tmp/x")
    shell.type(":wq\n")
    shell.run("cat /tmp/x", "written")
    assert shell.end() == 7


def test_more_terminals_can_be_opened_inside(shell):
    shell.run("exec 9<>/dev/ptmx; ls -x /dev/pts", r"0\s+1\s+ptmx")
    assert shell.end() == 7


def test_nothing_leads_to_the_callers_terminal(shell, strata):
    shell.run("ls -l /proc/self/fd /proc/1/fd 2>&1 | grep -v '/dev/pts/0$'; echo e''nd", "end")
    assert b"/dev/pts/" not in shell.seen
    own = os.fstat(shell.slave)
    pid1, *others = waiting.descendants(shell.process.pid)
    # Whose descriptors an ordinary user cannot see, as nobody inside can.
    for pid in [pid1, *others] if os.geteuid() == 0 else others:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            opened = os.stat(entry.path)
            assert (opened.st_dev, opened.st_rdev) != (own.st_dev, own.st_rdev), f"{entry.path} is the caller's terminal"
    assert shell.end() == 7


# --- keys ----------------------------------------------------------------------------------------------


def test_ctrl_backslash_ends_the_job_and_not_strata(shell):
    shell.type("sleep 1000\n")
    waiting.until(lambda: shell.foreground_inside() == "sleep")
    shell.type("\x1c")
    waiting.until(lambda: shell.foreground_inside() == "sh")
    assert shell.end() == 7


def test_ctrl_d_is_the_end_of_the_input(shell):
    shell.run("cat; echo st''ill", "")
    waiting.until(lambda: shell.foreground_inside() == "cat")
    shell.type("line\n\x04")
    shell.expect("still")
    shell.expect("[#$] ")  # else the shell may not read keys yet, but lines
    shell.type("\x04")
    assert shell.process.wait(waiting.PATIENCE) == 0


def test_a_shell_that_closes_its_streams_for_a_while_keeps_the_terminal(shell):
    shell.run("exec 5>&1 6<&0; exec 0<&- 1>&- 2>&- 10<&- 5>&- 6<&-; sleep 0.1; exec </dev/tty >/dev/tty 2>&1; echo ba''ck", "back")
    assert shell.end() == 7


# --- much ----------------------------------------------------------------------------------------------


def test_a_large_paste_arrives_whole(shell):
    data = random.Random(1).randbytes(400_000)
    shell.type(f"stty raw -echo; echo rea''dy; head -c {len(data)} | sha256sum; stty sane\n")
    shell.expect("ready")
    shell.write(data)
    shell.expect(hashlib.sha256(data).hexdigest())
    assert shell.end() == 7


def test_fast_output_comes_out_whole_and_in_order(shell):
    shell.type("stty -opost; echo beg''in; seq 1 150000; echo e''nd\n")
    shell.expect("begin\n")
    end = time.monotonic() + 60
    while b"end\n" not in shell.seen[-4096:] and time.monotonic() < end:
        shell.seen += os.read(shell.master, 65536)
    numbers, _, _ = shell.seen.partition(b"end\n")
    assert numbers == b"".join(b"%d\n" % number for number in range(1, 150001))
    assert shell.end() == 7


def test_what_was_written_last_is_shown(strata, base, open_terminal):
    for _ in range(5):
        terminal = open_terminal(strata.command("run", "-t", "base", "--", "sh", "-c", "seq 1 5000; echo the very e''nd"))
        terminal.expect("the very end")
        assert terminal.process.wait(waiting.PATIENCE) == 0


# --- the caller's terminal is as it was ----------------------------------------------------------------


def ends(strata, base, open_terminal, end, *options):
    terminal = open_terminal(strata.command("shell", *options, "base"))
    before = terminal.at_first
    terminal.expect(r"# ")
    waiting.until(terminal.is_raw)
    inside = waiting.descendants(terminal.process.pid)
    end(terminal, inside)
    status = terminal.process.wait(waiting.PATIENCE)
    waiting.until(lambda: all(map(waiting.gone, inside)))
    assert terminal.settings() == before
    return status


@pytest.mark.parametrize("name", ["TERM", "HUP"])
def test_after_a_signal_that_ends_strata(strata, base, open_terminal, name):
    """An interactive shell ignores SIGTERM; that its terminal is gone it does not."""
    ends(strata, base, open_terminal, lambda terminal, _: terminal.process.send_signal(getattr(signal, f"SIG{name}")))


def test_after_a_timeout(strata, base, open_terminal):
    assert ends(strata, base, open_terminal, lambda *_: None, "--timeout", "4") == 124


def test_after_the_sandbox_was_killed(strata, base, open_terminal):
    assert ends(strata, base, open_terminal, lambda _, inside: os.kill(inside[0], signal.SIGKILL)) == 137


def test_after_the_shell_was_killed_in_raw_mode(strata, base, open_terminal):
    def end(terminal, inside):
        terminal.run("stty raw -echo; echo ra''w", "raw")
        os.kill(inside[1], signal.SIGKILL)

    assert ends(strata, base, open_terminal, end) == 137


def test_after_set_up_has_failed(strata, base, open_terminal):
    terminal = open_terminal(strata.command("run", "-t", "--chdir", "/nowhere", "base", "--", "sh"))
    before = terminal.at_first
    terminal.expect("chdir /nowhere: No such file or directory\r\n")
    assert terminal.process.wait(waiting.PATIENCE) == 125
    assert terminal.settings() == before


@pytest.mark.parametrize("stop", [signal.SIGTSTP, signal.SIGSTOP])
def test_is_raw_again_after_a_stop_from_outside(shell, stop):
    waiting.until(shell.is_raw)
    shell.process.send_signal(stop)
    waiting.until(lambda: waiting.state(shell.process.pid) == "T", "strata to stop")
    if stop == signal.SIGTSTP:  # of the other nothing is heard
        assert not shell.is_raw()
    shell.resize(30, 800)
    shell.process.send_signal(signal.SIGCONT)
    waiting.until(shell.is_raw)
    shell.run("stty size", "30 800")
    assert shell.end() == 7
    assert not shell.is_raw()


def test_what_was_stopped_inside_stays_so_when_strata_is_stopped_and_continued(shell):
    shell.type("sleep 1000\n")
    waiting.until(lambda: shell.foreground_inside() == "sleep")
    shell.type("\x1a")
    shell.run("jobs", "Stopped.*sleep 1000")
    shell.process.send_signal(signal.SIGTSTP)
    waiting.until(lambda: waiting.state(shell.process.pid) == "T", "strata to stop")
    shell.process.send_signal(signal.SIGCONT)
    shell.run("jobs", "Stopped.*sleep 1000")
    shell.run("kill -9 %1; sleep 0.1; jobs; echo ga''ve", "gave")
    assert shell.end() == 7


def test_in_the_background_it_waits_to_be_brought_to_the_front(strata, base, open_terminal):
    outer = open_terminal(["/bin/busybox", "sh", "-i"])
    outer.expect(r"[#$] ")
    outer.run(" ".join(strata.command("shell", "base")) + " &", "")
    strata_pid = waiting.until(lambda: waiting.descendants(outer.process.pid))[0]
    waiting.until(lambda: waiting.state(strata_pid) == "T", "strata to stop")
    assert not outer.run("stty -a", "isig").group(0) == b""
    outer.type("fg\n")
    outer.expect(r"/ # ")
    outer.run("cat /usr/share/greeting", "hello")
    outer.type("exit 5\n")
    outer.expect(r"/home [#$] ")
    outer.run("echo inner $?", "inner 5")
    assert outer.end() == 7


@pytest.mark.leaves_files
def test_everything_is_gone_when_the_terminal_window_is_closed(shell):
    shell.type("trap '' HUP; busybox nohup sleep 1000 &\n")
    shell.expect("sleep")
    inside = waiting.until(lambda: waiting.at_least(3, waiting.descendants(shell.process.pid)))
    shell.hang_up()
    shell.process.wait(waiting.PATIENCE)
    waiting.until(lambda: all(map(waiting.gone, inside)))


def test_what_ignores_that_the_terminal_is_gone_is_killed_after_the_grace(strata, base, open_terminal):
    script = "trap '' HUP TERM; echo u''p; while :; do sleep 0.05; done"
    terminal = open_terminal(strata.command("run", "-t", "--grace", "0.3s", "base", "--", "sh", "-c", script))
    terminal.expect("up")
    inside = waiting.descendants(terminal.process.pid)
    terminal.hang_up()
    assert terminal.process.wait(waiting.PATIENCE) == 137
    waiting.until(lambda: all(map(waiting.gone, inside)))


@pytest.mark.leaves_files
def test_everything_is_gone_when_strata_is_killed(shell):
    shell.type("busybox nohup setsid sleep 1000 &\n")
    shell.expect("sleep")
    inside = waiting.until(lambda: waiting.at_least(3, waiting.descendants(shell.process.pid)))
    shell.process.kill()
    shell.process.wait(waiting.PATIENCE)
    waiting.until(lambda: all(map(waiting.gone, inside)))


# --- other streams -------------------------------------------------------------------------------------


def test_streams_that_are_no_terminal_stay_what_they_are(strata, base, open_terminal, tmp_path):
    with open(tmp_path / "out", "wb") as out:
        terminal = open_terminal(strata.command("shell", "base"), stdout=out)
        terminal.type("test -t 0 && test -t 2 && ! test -t 1 && echo right\n")
        terminal.type("exit 7\n")
        assert terminal.process.wait(waiting.PATIENCE) == 7
    assert (tmp_path / "out").read_text() == "right\n"


def test_what_the_shell_changed_can_be_captured(strata, base, open_terminal):
    terminal = open_terminal(strata.command("shell", "--capture", "made", "base"))
    terminal.expect(r"# ")
    terminal.run("echo x > /usr/made; echo do''ne", "done")
    terminal.type("exit 0\n")
    assert terminal.process.wait(waiting.PATIENCE) == 0
    assert strata("files", "made").ok().out.split() == ["usr", "usr/made"]


def test_run_gives_a_terminal_when_asked_to(strata, base, open_terminal):
    command = ["base", "--", "sh", "-c", "test -t 1 && busybox tty || echo none; exit 3"]
    terminal = open_terminal(strata.command("run", "-t", *command))
    terminal.expect("/dev/pts/0")
    assert terminal.process.wait(waiting.PATIENCE) == 3
    strata("run", "--tty", *command).fails(125, "--tty: standard input is no terminal", "hint:")
    strata("shell", "--tty", "base").fails(125, "--tty: standard input is no terminal")


def test_run_alone_has_a_terminal_as_stdin_but_does_not_own_it(strata, base, open_terminal):
    terminal = open_terminal(strata.command("run", "base", "--", "sh", "-c", "test -t 0 && echo yes; echo x 2>&- > /dev/tty || echo none"))
    terminal.expect("yes(?s:.*)none")
    assert terminal.process.wait(waiting.PATIENCE) == 0


def test_ctrl_c_ends_a_run_whose_shell_waits_for_a_program(strata, base, open_terminal):
    """A shell that got the signal alone would wait for the program, which did not."""
    terminal = open_terminal(strata.command("run", "base", "--", "sh", "-c", "sh -c 'trap \"echo cle''aned; exit 1\" INT; echo u''p; while :; do sleep 1; done'; exit 5"))
    terminal.expect("up")
    terminal.type("\x03")
    terminal.expect("cleaned")
    assert terminal.process.wait(waiting.PATIENCE) in (130, 5)


@pytest.mark.parametrize("deaf", ["", "trap '' HUP TERM; "])
def test_a_timeout_holds_at_a_terminal_that_takes_nothing(strata, base, open_terminal, deaf):
    command = ("run", "-t", "--timeout", "0.5s", "--grace", "0.5s", "base", "--", "sh", "-c", f"{deaf}seq 1 100000; sleep 1000")
    # Standard error is not the terminal: strata's own last words would wait for it.
    terminal = open_terminal(strata.command(*command), stderr=subprocess.DEVNULL)
    assert terminal.process.wait(waiting.PATIENCE) == 124
