"""--stats: what happened and how long it took, as JSON."""

import json

import pytest

def stats_of(strata, tmp_path, script, *options, layers=("base",)):
    file = tmp_path / "stats.json"
    strata("run", "--stats", file, *options, *layers, "--", "sh", "-c", script)
    return json.loads(file.read_text())


def test_has_every_documented_key(strata, base, tmp_path):
    stats = stats_of(strata, tmp_path, "true")
    assert set(stats) >= {"command", "outcome", "status", "exit_code", "signal", "layers", "mounted_depth", "wall_us",
                          "stage_us", "prepare_us", "steps_us", "capture_us", "rusage"}
    assert set(stats["rusage"]) >= {"user_us", "system_us", "max_rss_kib"}
    assert stats["command"] == ["sh", "-c", "true"]
    assert stats["layers"] == [base]
    assert stats["mounted_depth"] == 2  # the layer and the mount points


def test_steps_are_all_there_and_add_up(strata, base, tmp_path):
    stats = stats_of(strata, tmp_path, "sleep 0.1")
    assert set(stats["steps_us"]) >= {"clone", "ids", "overlay", "proc", "dev", "tmp", "mounts", "pivot", "privileges",
                                      "run", "cleanup"}
    assert all(value >= 0 for value in stats["steps_us"].values())
    assert stats["steps_us"]["run"] >= 90_000
    assert sum(stats["steps_us"].values()) <= stats["wall_us"]
    assert stats["stage_us"] <= stats["wall_us"]


@pytest.mark.parametrize("script, outcome, status, code, signal", [
    ("exit 0", "exit", 0, 0, None),
    ("exit 3", "exit", 3, 3, None),
    ("kill -9 $$", "signal", 137, None, 9),
])
def test_tells_how_the_command_ended(strata, base, tmp_path, script, outcome, status, code, signal):
    stats = stats_of(strata, tmp_path, script)
    assert (stats["outcome"], stats["status"], stats["exit_code"], stats["signal"]) == (outcome, status, code, signal)


def test_tells_of_a_timeout(strata, base, tmp_path):
    stats = stats_of(strata, tmp_path, "sleep 1000", "--timeout", "0.3")
    assert (stats["outcome"], stats["status"]) == ("timeout", 124)


@pytest.mark.parametrize("command, outcome, status", [("nowhere", "not-found", 127), ("/etc/passwd", "not-executable", 126)])
def test_tells_of_a_command_that_could_not_run(strata, base, tmp_path, command, outcome, status):
    strata("run", "--stats", tmp_path / "s", "base", "--", command).fails(status)
    stats = json.loads((tmp_path / "s").read_text())
    assert (stats["outcome"], stats["status"]) == (outcome, status)


def test_names_the_signal_and_where_changes_were_kept(strata, base, tmp_path):
    stats = stats_of(strata, tmp_path, "kill -SEGV $$")
    assert (stats["signal_name"], stats["upper"]) == ("SIGSEGV", "store")
    assert stats_of(strata, tmp_path, "true", "--read-only")["upper"] == "none"
    assert stats_of(strata, tmp_path, "true", "--scratch", "tmpfs")["upper"] == "tmpfs"
    assert stats_of(strata, tmp_path, "true", "--workspace", "w")["upper"] == "workspace"


def test_tells_why_nothing_has_run(strata, base, tmp_path):
    """Else whoever reads the file takes it for that of the run before."""
    (tmp_path / "stats.json").write_text("old")
    done = strata("run", "--stats", tmp_path / "stats.json", "--chdir", "/nowhere", "base", "--", "true").fails(125)
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert (stats["outcome"], stats["status"], stats["exit_code"], stats["signal"]) == ("setup-failed", 125, None, None)
    assert done.stderr == f"strata: {stats['error']}\nhint: {stats['hint']}\n"
    assert stats["error"] == "set up sandbox: run: chdir /nowhere: No such file or directory"
    assert stats["command"] == ["true"] and stats["layers"] == [base]


def test_usage_is_that_of_the_command(strata, base, tmp_path):
    usage = stats_of(strata, tmp_path, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")["rusage"]
    assert usage["user_us"] > 10_000
    assert usage["max_rss_kib"] > 100


def test_tells_what_was_captured(strata, base, tmp_path):
    captured = stats_of(strata, tmp_path, "echo 12345 > /usr/x", "--capture", "app")["captured"]
    assert captured["ref"] == "app"
    assert captured["id"] == strata("show", "--json", "app").json()["id"]
    assert captured["existed"] is False


def test_is_replaced_as_a_whole(strata, base, tmp_path):
    (tmp_path / "stats.json").write_text("x" * 100_000)
    assert stats_of(strata, tmp_path, "true")["status"] == 0


def test_goes_to_stdout_when_asked_to(strata, base):
    done = strata("run", "-q", "--stats", "/dev/stdout", "base", "--", "true").ok()
    assert json.loads(done.stdout)["status"] == 0


def test_goes_to_a_log_that_is_stdout_without_replacing_the_link_to_it(strata, base, tmp_path):
    """/dev/stdout is such a link, and root could replace it."""
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    with open(tmp_path / "log", "w") as log:
        strata("run", "-q", "--stats", tmp_path / "stdout", "base", "--", "echo", "said", stdout=log).ok()
    assert (tmp_path / "stdout").is_symlink()
    said, _, stats = (tmp_path / "log").read_text().partition("\n")
    assert said == "said" and json.loads(stats)["status"] == 0


def test_a_place_that_cannot_be_written_to_is_named(strata, base, tmp_path):
    strata("run", "--stats", tmp_path / "no/where", "base", "--", "true").fails(None, "--stats", str(tmp_path / "no"))
