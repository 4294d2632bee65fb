"""--workspace, --cache and --keep-failed: what is kept between runs."""

import re
import shlex
from subprocess import PIPE

import pytest
import waiting


def test_a_workspace_keeps_what_was_written(strata, base):
    options = ("--workspace", "w")
    strata.sh("echo 1 > /usr/a; rm /usr/share/greeting; chmod 700 /var", options=options).ok()
    done = strata.sh("cat /usr/a; ls /usr/share; stat -c %a /var; echo 2 >> /usr/a", options=options).ok()
    assert done.out.split() == ["1", "700"]
    assert strata.sh("cat /usr/a", options=options).ok().out == "1\n2"


def test_a_workspace_is_kept_when_the_command_fails(strata, base):
    strata.sh("echo 1 > /usr/a; exit 3", options=("--workspace", "w")).fails(3)
    assert strata.sh("cat /usr/a", options=("--workspace", "w")).ok().out == "1"


def test_workspaces_are_apart(strata, base):
    strata.sh("echo 1 > /usr/a", options=("--workspace", "w")).ok()
    strata.sh("cat /usr/a", options=("--workspace", "v")).fails(1)
    strata.sh("cat /usr/a").fails(1)


def test_a_workspace_serves_one_run_at_a_time(strata, base):
    process = strata.start("run", "--workspace", "w", "base", "--", "sh", "-c", "echo up; cat", stdin=PIPE)
    waiting.read_until(process, b"up")
    strata.sh("true", options=("--workspace", "w")).fails(125, "workspace w", "in use")
    strata.sh("true", options=("--workspace", "v")).ok()
    assert waiting.finish(process)[0] == 0
    strata.sh("true", options=("--workspace", "w")).ok()


def kill_in_workspace(strata):
    script = "echo kept > /usr/a; sync; echo up; cat"
    process = strata.start("run", "--workspace", "w", "base", "--", "sh", "-c", script, stdin=PIPE)
    waiting.read_until(process, b"up")
    inside = waiting.descendants(process.pid)
    process.kill()
    process.communicate()
    waiting.until(lambda: all(map(waiting.gone, inside)), "the sandbox to die")


def test_a_workspace_is_usable_after_kill_9(strata, base):
    kill_in_workspace(strata)
    assert strata.sh("cat /usr/a", options=("--workspace", "w")).ok().out == "kept"


def test_a_workspace_that_the_machine_went_down_with_is_refused_with_a_hint(strata, base, store):
    kill_in_workspace(strata)
    (store / "workspaces/w/boot").write_text("00000000-0000-0000-0000-000000000000\n")
    for _ in range(2):
        done = strata.sh("cat /usr/a", options=("--workspace", "w"))
        done.fails(125, "workspace w", "went down", "hint:", str(store / "workspaces/w"))


def test_a_workspace_that_ended_cleanly_survives_a_reboot(strata, base, store):
    strata.sh("echo kept > /usr/a", options=("--workspace", "w")).ok()
    (store / "workspaces/w/boot").write_text("00000000-0000-0000-0000-000000000000\n")
    assert strata.sh("cat /usr/a", options=("--workspace", "w")).ok().out == "kept"


@pytest.mark.parametrize("name", ["a/b", "..", "", ".", "-x"])
def test_a_workspace_has_a_plain_name(strata, base, name):
    strata("run", f"--workspace={name}", "base", "--", "true").fails(125, "--workspace" if name != "a/b" else "a/b")


def test_a_workspace_is_in_the_store(strata, base):
    strata("run", "--workspace", "w", "--scratch", "tmpfs", "base", "--", "true").fails(125, "--workspace", "--scratch")


# --- --cache -------------------------------------------------------------------------------------------


def test_a_cache_keeps_what_was_written(strata, base):
    options = ("--cache", "ccache:/root/.cache/ccache")
    strata.sh("echo 1 > /root/.cache/ccache/a", options=options).ok()
    assert strata.sh("cat /root/.cache/ccache/a", options=options).ok().out == "1"
    assert strata.sh("cat /elsewhere/a", options=("--cache", "ccache:/elsewhere")).ok().out == "1"


def test_caches_are_apart(strata, base):
    strata.sh("echo 1 > /c/a", options=("--cache", "one:/c")).ok()
    assert strata.sh("ls -A /c", options=("--cache", "two:/c")).ok().out == ""


def test_a_cache_works_in_a_read_only_root_and_when_the_command_fails(strata, base):
    strata.sh("echo 1 > /c/a; exit 3", options=("--read-only", "--cache", "one:/c")).fails(3)
    assert strata.sh("cat /c/a", options=("--cache", "one:/c")).ok().out == "1"


def test_a_second_run_waits_for_the_cache(strata, base):
    options = ("--cache", "one:/c")
    first = strata.start("run", *options, "base", "--", "sh", "-c", "echo up; cat; echo first > /c/a", stdin=PIPE)
    waiting.read_until(first, b"up")
    second = strata.start("run", *options, "base", "--", "cat", "/c/a")
    waiting.until(lambda: waiting.state(second.pid) == "S" and not waiting.descendants(second.pid))
    assert second.poll() is None
    assert waiting.finish(first)[0] == 0
    status, out, err = waiting.finish(second)
    assert (status, out) == (0, b"first\n")
    assert b"waiting for cache one" in err


def test_the_same_cache_at_two_places_is_one_directory(strata, base):
    options = ("--cache", "one:/c", "--cache", "one:/d")
    assert strata.sh("echo 1 > /c/a; cat /d/a", options=options, timeout=300).ok().out == "1"


def test_runs_that_share_two_caches_do_not_wait_for_each_other(strata, base):
    runs = []
    for number in range(12):
        names = ("a", "b") if number % 2 else ("b", "a")
        options = [word for name in names for word in ("--cache", f"{name}:/{name}")]
        runs.append(strata.start("run", "-q", *options, "base", "--", "true"))
    assert [waiting.finish(run)[0] for run in runs] == [0] * len(runs)


@pytest.mark.parametrize("value", ["one", "one:", ":/c", "a/b:/c", "..:/c", "one:c"])
def test_a_cache_that_makes_no_sense_is_refused(strata, base, value):
    strata("run", "--cache", value, "base", "--", "true").fails(125, "--cache")


# --- --keep-failed -------------------------------------------------------------------------------------


def test_keep_failed_prints_a_command_that_shows_what_failed(strata, base):
    done = strata.sh("echo evidence > /usr/a; exit 3", options=("--keep-failed",))
    done.fails(3)
    line = re.search(r"strata shell (.*)", done.stderr)[0]
    words = shlex.split(line)[2:]
    shell = strata("shell", *words, input="cat /usr/a; exit 5\n")
    assert "evidence" in shell.stdout
    assert shell.returncode == 5
    strata(*shlex.split(re.search(r"strata (rm .*)", done.stderr)[1])).ok()
    assert strata("list", "workspaces").ok().stdout == ""


def test_keep_failed_keeps_what_a_timeout_ended(strata, base):
    def kept(limit):
        done = strata.sh("echo evidence > /usr/a; sleep 1000", options=("--keep-failed", "--timeout", limit)).fails(124)
        words = shlex.split(re.search(r"strata shell (.*)", done.stderr)[1])
        return strata("run", *words, "--", "cat", "/usr/a").out

    assert waiting.with_time_enough(kept, lambda text: text) == "evidence"


def test_keep_failed_keeps_nothing_besides_what_was_captured(strata, base, store):
    done = strata.sh("echo evidence > /usr/a; exit 3", options=("--keep-failed", "--capture", "l", "--capture-failed")).fails(3)
    assert "look at what failed" not in done.stderr
    assert not any((store / "workspaces").iterdir())
    assert strata("run", "l", "base", "--", "cat", "/usr/a").ok().out == "evidence"


def test_keep_failed_keeps_nothing_of_a_success(strata, base, store):
    assert strata.sh("echo x > /usr/a", options=("--keep-failed",)).ok().stderr == ""
    assert list((store / "workspaces").iterdir()) == []


def test_keep_failed_in_a_workspace_names_the_workspace(strata, base):
    done = strata.sh("exit 3", options=("--keep-failed", "--workspace", "w"))
    done.fails(3, "strata shell --workspace w base")


def test_keep_failed_says_when_there_is_nothing_to_keep(strata, base):
    strata.sh("exit 3", options=("--keep-failed", "--scratch", "tmpfs")).fails(3, "--keep-failed", "nothing is kept")
