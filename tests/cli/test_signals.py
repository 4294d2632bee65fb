"""Signals to strata reach the command; nothing of a sandbox outlives strata."""

import os
import signal
import subprocess
import time

import pytest
import waiting

FORWARDED = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"]


def started(strata, script, *options):
    """A run whose command has printed "up", and the pids inside, pid 1 first."""
    process = strata.start("run", *options, "base", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    waiting.read_until(process, b"up")
    return process, waiting.until(lambda: waiting.at_least(2, waiting.descendants(process.pid)))


@pytest.mark.parametrize("name", FORWARDED)
def test_a_signal_reaches_the_command(strata, base, name):
    process, _ = started(strata, f"trap 'echo got {name}; exit 3' {name}; echo up; while :; do sleep 0.02; done")
    process.send_signal(getattr(signal, f"SIG{name}"))
    status, out, _ = waiting.finish(process)
    assert (status, out) == (3, f"got {name}\n".encode())


@pytest.mark.parametrize("name", FORWARDED)
def test_a_signal_that_the_command_does_not_catch_ends_it(strata, base, name):
    process, _ = started(strata, "echo up; exec sleep 1000")
    waiting.until(lambda: "sleep" in commands_below(process.pid))
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert waiting.finish(process)[0] == 128 + getattr(signal, f"SIG{name}")


def commands_below(pid):
    found = []
    for child in waiting.descendants(pid):
        try:
            with open(f"/proc/{child}/comm") as file:
                found.append(file.read().strip())
        except OSError:
            pass
    return found


@pytest.mark.leaves_files
def test_a_signal_before_the_command_has_started_is_not_lost(strata, base):
    for delay in range(0, 12):
        process = strata.start("run", "base", "--", "sleep", "1000")
        time.sleep(delay / 1000)
        process.terminate()
        # Before strata handles signals it dies of this one, as any program.
        assert waiting.finish(process)[0] in (143, -signal.SIGTERM)


def test_a_process_group_that_is_interrupted_ends_with_the_commands_status(strata, base):
    # Ctrl-C at a terminal goes to strata alone: the command has a session of its own.
    process, inside = started(strata, "trap 'echo cleaned; exit 130' INT; echo up; while :; do sleep 0.02; done")
    assert os.getpgid(inside[0]) != os.getpgid(process.pid)
    process.send_signal(signal.SIGINT)
    assert waiting.finish(process)[:2] == (130, b"cleaned\n")


# --- stop and continue ---------------------------------------------------------------------------------


def test_sigtstp_stops_strata_and_all_inside_and_sigcont_resumes(strata, base):
    process, _ = started(strata, "sh -c 'while :; do sleep 0.01; done' & echo up; while :; do sleep 0.01; done")
    inside = waiting.until(lambda: waiting.at_least(3, waiting.descendants(process.pid)))
    process.send_signal(signal.SIGTSTP)
    waiting.until(lambda: waiting.state(process.pid) == "T", "strata to stop")
    # pid 1 waits; everything else is stopped.
    waiting.until(lambda: all(waiting.state(pid) in ("T", "") for pid in waiting.descendants(process.pid)[1:]))
    assert len(waiting.descendants(process.pid)) >= 3
    process.send_signal(signal.SIGCONT)
    waiting.until(lambda: all(waiting.state(pid) != "T" for pid in [process.pid, *inside]))
    process.terminate()
    assert waiting.finish(process)[0] == 143


def test_a_stopped_run_can_be_killed(strata, base):
    process, inside = started(strata, "echo up; while :; do sleep 0.01; done")
    process.send_signal(signal.SIGTSTP)
    waiting.until(lambda: waiting.state(process.pid) == "T", "strata to stop")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert waiting.finish(process)[0] == 143
    assert all(map(waiting.gone, inside))


def test_all_process_groups_are_stopped_and_continued(strata, base):
    script = """
    setsid sh -c 'while :; do sleep 0.01; done' &
    sh -c 'setsid sh -c "while :; do sleep 0.01; done" & while :; do sleep 0.01; done' &
    echo up; while :; do sleep 0.01; done
    """
    process, _ = started(strata, script)
    waiting.until(lambda: waiting.at_least(6, waiting.descendants(process.pid)))
    for _ in range(5):
        process.send_signal(signal.SIGTSTP)
        waiting.until(lambda: waiting.state(process.pid) == "T", "strata to stop")
        waiting.until(lambda: all(waiting.state(pid) in ("T", "Z", "") for pid in waiting.descendants(process.pid)[1:]))
        process.send_signal(signal.SIGCONT)
        waiting.until(lambda: not any(waiting.state(pid) == "T" for pid in [process.pid, *waiting.descendants(process.pid)]))
    process.terminate()
    assert waiting.finish(process)[0] == 143


@pytest.mark.parametrize("what", ["trap 'echo continued; exit 3' CONT", "trap '' CONT"], ids=["catches", "ignores"])
def test_a_command_that_handles_sigcont_is_stopped_and_continued(strata, base, what):
    process, inside = started(strata, f"{what}; echo up; while :; do sleep 0.01; done")
    process.send_signal(signal.SIGTSTP)
    waiting.until(lambda: waiting.state(process.pid) == "T", "strata to stop")
    waiting.until(lambda: waiting.state(inside[1]) == "T", "the command to stop")
    process.send_signal(signal.SIGCONT)
    waiting.until(lambda: waiting.state(inside[1]) != "T", "the command to go on")
    if "exit" in what:
        assert waiting.finish(process)[:2] == (3, b"continued\n")
    else:
        process.terminate()
        assert waiting.finish(process)[0] == 143


@pytest.mark.leaves_files
def test_a_stop_during_the_set_up_stops_all_and_can_be_continued(strata, base):
    for delay in range(12):
        process = strata.start("run", "base", "--", "sh", "-c", "echo up; exec sleep 0.05")
        time.sleep(delay / 1000)
        process.send_signal(signal.SIGTSTP)
        waiting.until(lambda: waiting.state(process.pid) in ("T", "Z"), "strata to stop or to end")
        process.send_signal(signal.SIGCONT)
        assert waiting.finish(process)[:2] == (0, b"up\n")


def test_the_parent_of_strata_may_die(strata, base, tmp_path):
    """As of any command: nohup, a CI runner that is restarted. The sandbox is tied to strata alone."""
    command = strata.command("run", "--bind", f"{tmp_path}:/mnt", "base", "--", "sh", "-c", "touch /mnt/up; sleep 0.3; echo x > /mnt/done")
    parent = subprocess.Popen(["sh", "-c", '"$@" & wait', "sh", *command], env=strata.environment(), stdin=subprocess.DEVNULL)
    waiting.until((tmp_path / "up").exists)
    parent.kill()
    parent.wait()
    waiting.until((tmp_path / "done").exists)


@pytest.mark.leaves_files
def test_strata_dies_with_its_parent_when_asked_to(strata, base, tmp_path):
    command = strata.command("run", "--die-with-parent", "--bind", f"{tmp_path}:/mnt", "base", "--", "sh", "-c", "touch /mnt/up; sleep 1000")
    parent = subprocess.Popen(["sh", "-c", '"$@" & wait', "sh", *command], env=strata.environment(), stdin=subprocess.DEVNULL)
    waiting.until((tmp_path / "up").exists)
    below = waiting.descendants(parent.pid)
    parent.kill()
    parent.wait()
    waiting.until(lambda: all(map(waiting.gone, below)), "strata and its sandbox to die")


# --- death ---------------------------------------------------------------------------------------------


@pytest.mark.leaves_files
def test_the_sandbox_dies_when_strata_is_killed(strata, base):
    script = "setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000' & (sleep 1000 &) ; trap '' TERM HUP; echo up; cat; sleep 1000"
    process, _ = started(strata, script)
    inside = waiting.until(lambda: waiting.at_least(5, waiting.descendants(process.pid)))
    process.kill()
    process.communicate()
    waiting.until(lambda: all(map(waiting.gone, inside)), "every process of the sandbox to die")


@pytest.mark.leaves_files
def test_what_a_killed_run_leaves_is_taken_away_by_the_next(strata, base, store):
    process, inside = started(strata, "echo x > /usr/x; echo up; cat")
    process.kill()
    process.communicate()
    waiting.until(lambda: all(map(waiting.gone, inside)))
    assert strata.sh("ls /usr").ok().out == "share"
    assert [path.stat().st_mode & 0o7777 for path in (store / "stages").iterdir()] == [0o1700]


def test_strata_says_137_when_the_sandbox_is_killed_from_outside(strata, base):
    process, inside = started(strata, "echo up; sleep 1000")
    os.kill(inside[0], signal.SIGKILL)
    assert waiting.finish(process)[0] == 137


def test_a_command_that_kills_everything_ends_alone(strata, base):
    # kill(-1) inside reaches neither pid 1 nor anything outside.
    assert strata.sh("sleep 1000 & kill -9 -1; echo unreached").returncode in (0, 137)


def test_pid_1_cannot_be_killed_from_inside(strata, base):
    assert strata.sh("kill -9 1; kill -STOP 1; sleep 0.05; echo alive").out == "alive"


def test_pid_1_goes_on_whatever_it_is_sent_from_inside(strata, base):
    names = "TERM INT TSTP CONT PWR HUP QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM CHLD TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO SYS"
    script = f"for name in {names}; do kill -$name 1; done; kill -9 1; kill -STOP 1; sleep 0.05; (true &); echo alive"
    assert strata.sh(script).ok().out == "alive"


def test_a_zombie_that_nobody_waits_for_is_reaped(strata, base):
    script = """
    for i in 1 2 3 4 5 6 7 8; do (setsid sh -c 'echo >> /ended' &); done
    while [ "$(cat /ended 2>/dev/null | wc -l)" != 8 ]; do sleep 0.01; done
    for try in $(seq 600); do zombies=$(ps -o stat,comm | grep -c '^Z'); [ $zombies = 0 ] && break; sleep 0.1; done
    echo $zombies
    """
    assert strata.sh(script).out == "0"


def test_a_daemon_that_is_left_behind_is_ended(strata, base, tmp_path):
    daemon = "trap \"\" TERM HUP INT; while :; do echo x >> /mnt/beat; sleep 0.01; done"
    script = f"setsid sh -c '{daemon}' > /dev/null 2>&1 < /dev/null & while ! test -s /mnt/beat; do sleep 0.01; done"
    strata.sh(script, options=("--bind", f"{tmp_path}:/mnt")).ok()
    size = (tmp_path / "beat").stat().st_size
    time.sleep(0.1)
    assert (tmp_path / "beat").stat().st_size == size


def test_a_signal_that_the_caller_ignores_is_ignored_inside(strata, base):
    # nohup strata run ...
    process = strata.start(
        "run", "base", "--", "sh", "-c", "echo up; sleep 0.3; echo still here",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    waiting.read_until(process, b"up")
    process.send_signal(signal.SIGHUP)
    assert waiting.finish(process)[:2] == (0, b"still here\n")


@pytest.mark.parametrize("ids", [[], ["--userns", "subuid"]])
def test_a_caller_that_ignores_sigchld_learns_the_status(strata, base, ids):
    # Whatever is ignored stays so through exec, and the kernel reaps children for who ignores their ends.
    process = strata.start(
        "run", *ids, "--capture", "made", "--capture-failed", "base", "--", "sh", "-c", "echo x > /x; exit 3",
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    )
    assert waiting.finish(process)[0] == 3
    assert strata("files", "made").ok().out == "x"


@pytest.mark.leaves_files
def test_an_interrupt_ends_a_long_capture(strata, base):
    # 20 GB of zeros take ten seconds to hash, and no room.
    process = strata.start("run", "--capture", "big", "base", "--", "sh", "-c", "truncate -s 20G /big; echo up")
    waiting.read_until(process, b"up")
    waiting.until(lambda: waiting.descendants(process.pid) == [])
    process.send_signal(signal.SIGINT)
    assert waiting.finish(process)[0] == -signal.SIGINT
    strata("show", "big").fails(1, "no layer or ref named big")
