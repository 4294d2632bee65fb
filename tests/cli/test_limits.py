"""--memory, --pids, --cpus: by whatever means this machine has, which `strata doctor` says; --grace; and the
limits that every sandbox has.

What is expected follows from the means. The fallbacks are made to run on any machine by hiding the cgroups.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import waiting

# A shell variable that doubles until there is no more memory; "enough" is far above each limit here.
HOG = "a=0123456789abcdef; while [ ${#a} -lt 400000000 ]; do a=$a$a; done; echo enough"
FORKS = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait"
CGROUPS = ("cgroup1", "cgroup2")


def means_here(strata):
    return {c["name"].removeprefix("--"): c["means"] for c in strata("doctor", "--json").json()["checks"] if "means" in c}


def groups_here():
    """The control groups of this user's stratas, wherever they are. (Root's tests may run at the same time.)"""
    found = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup"):
            found.update(path for path in Path(fields.split()[4]).rglob("strata-*") if owner(path) == os.geteuid())
    return found


def owner(path):
    try:
        return path.stat().st_uid
    except OSError:
        return None  # it is gone already


@pytest.fixture(autouse=True)
def no_groups_left(request):
    before = groups_here()
    yield
    if not request.node.get_closest_marker("leaves_files"):
        assert groups_here() <= before, "a control group was left behind"


@pytest.fixture(params=["what this machine has", "no cgroup"])
def limited(request, strata, base, tmp_path):
    """limited("sh script", *options) -> (Result, its --stats); once as it is, once with all cgroups hidden."""
    hidden = request.param == "no cgroup"
    if hidden and os.geteuid() == 0 and means_here_without_cgroups(strata)["pids"] == "none":
        hidden = False  # nothing limits root's processes there: see test_pids_is_refused_where_...

    def run(script, *options):
        stats = tmp_path / "stats.json"
        command = strata.command("run", "--stats", stats, *options, "base", "--", "sh", "-c", script)
        if hidden:
            command = without_cgroups(command)
        done = subprocess.run(command, env=strata.environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
        result = type(strata("version"))(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
        return result, json.loads(stats.read_text()) if stats.exists() else None

    run.means = means_here_without_cgroups(strata) if hidden else means_here(strata)
    return run


def without_cgroups(command):
    """The command where no cgroup file system can be seen. (The caller's ids stay what they are.)"""
    hide = 'mount -t tmpfs -o ro tmpfs /sys/fs/cgroup; exec "$@"'
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    return ["unshare", *user, "--mount", "sh", "-c", hide, "sh", *command]


def means_here_without_cgroups(strata):
    done = subprocess.run(
        without_cgroups(strata.command("doctor", "--json")), env=strata.environment(), capture_output=True, timeout=300
    )
    return {c["name"].removeprefix("--"): c["means"] for c in json.loads(done.stdout)["checks"] if "means" in c}


# --- memory --------------------------------------------------------------------------------------------------


def test_memory_ends_a_command_that_uses_more(limited):
    done, stats = limited(HOG, "--memory", "64M")
    assert "enough" not in done.stdout
    assert stats["limits"]["memory"] == {"asked": 64 << 20, "means": limited.means["memory"]}
    if limited.means["memory"] in CGROUPS:
        done.fails(137, "strata: killed: the command used more memory than its --memory of 64 MB (peak 64 MB)\n")
        assert stats["outcome"] == "signal" and stats["signal"] == signal.SIGKILL
        assert stats["memory"] == {"peak_bytes": 64 << 20, "oom_kills": 1}
    else:
        done.fails(None)  # the shell says that it is out of memory
        assert stats["memory"] == {"peak_bytes": None, "oom_kills": None}
        assert stats["rusage"]["max_rss_kib"] < 80 << 10


def test_a_child_that_is_killed_for_memory_is_told_and_the_status_is_the_commands(limited):
    done, stats = limited(f"sh -c '{HOG}'; echo it said $?; exit 3", "--memory", "64M")
    assert (done.returncode, "enough" in done.stdout) == (3, False)
    if limited.means["memory"] in CGROUPS:
        assert done.stdout == "it said 137\n"
        assert "warning: 1 process of the command was killed for using more memory than its --memory of 64 MB\n" in done.stderr
        assert stats["memory"]["oom_kills"] == 1


def test_memory_that_is_not_reached_changes_nothing(limited):
    done, stats = limited("echo fine", "--memory", "64M")
    assert (done.stdout, done.stderr, done.returncode) == ("fine\n", "", 0)
    if limited.means["memory"] in CGROUPS:
        assert 0 < stats["memory"]["peak_bytes"] < 64 << 20 and stats["memory"]["oom_kills"] == 0


def test_what_is_in_tmp_counts_as_memory_or_has_that_limit_too(limited):
    done, _ = limited("dd if=/dev/zero of=/tmp/a bs=64k count=1600", "--memory", "32M")
    done.fails(None)
    if limited.means["memory"] not in CGROUPS:
        done.fails(1, "No space left on device")


def test_the_least_memory_is_enough_to_start_a_command(limited):
    assert limited("true", "--memory", "4M")[0].returncode == 0


def test_a_kill_from_inside_is_not_taken_for_want_of_memory(limited):
    done, stats = limited("kill -9 $$", "--memory", "64M")
    assert done.returncode == 137 and "more memory than" not in done.stderr
    if limited.means["memory"] in CGROUPS:
        assert stats["memory"]["oom_kills"] == 0


# --- processes -----------------------------------------------------------------------------------------------


def test_pids_refuses_one_process_too_many(limited):
    # pid_max is no exact limit: the kernel gives out low numbers only once.
    rough = os.geteuid() == 0 and limited.means["pids"] == "pid_max"
    done, stats = limited(f"for i in $(seq {320 if rough else 6}); do sleep 1 & done; wait", "--pids", "6")
    done.fails(None, "can't fork")
    assert stats["limits"]["pids"] == {"asked": 6, "means": limited.means["pids"]}
    if limited.means["pids"] in CGROUPS:
        assert stats["pids"]["refused"] >= 1
        assert f"warning: the limit of --pids 6 was reached {stats['pids']['refused']} time" in done.stderr
        assert stats["pids"]["peak"] in (6, None)


def test_as_many_processes_as_pids_says_can_run(limited):
    # The shell and nine more.
    assert limited(FORKS, "--pids", "10")[0].ok().stderr == ""


def test_a_thousand_processes_one_after_another_are_within_a_limit_of_two(limited):
    limited("i=0; while [ $i -lt 1000 ]; do (:); i=$((i+1)); done", "--pids", "2")[0].ok()


def test_pids_may_be_more_than_the_default(limited):
    done, stats = limited("cat /proc/sys/kernel/pid_max", "--pids", "100000")
    done.ok()
    assert int(done.stdout) > 100000 or int(Path("/proc/sys/kernel/pid_max").read_text()) == int(done.stdout)


def test_pids_is_refused_where_nothing_can_limit_roots_processes(strata, base):
    if os.geteuid() == 0 and means_here_without_cgroups(strata)["pids"] == "none":
        done = subprocess.run(
            without_cgroups(strata.command("run", "--pids", "5", "base", "--", "true")),
            env=strata.environment(), capture_output=True, text=True, timeout=300,
        )
        assert done.returncode == 125 and "nothing here can limit how many processes root has" in done.stderr
    else:
        strata("run", "--pids", "5", "base", "--", "true").ok()


# --- processors ----------------------------------------------------------------------------------------------


def test_cpus_limits_the_time_or_the_number_of_processors(limited):
    script = "grep Cpus_allowed_list /proc/self/status; i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done"
    done, stats = limited(script, "--cpus", "0.25")
    done.ok()
    assert stats["limits"]["cpus"] == {"asked": 0.25, "means": limited.means["cpus"]}
    if limited.means["cpus"] in CGROUPS:
        used = stats["rusage"]["user_us"] + stats["rusage"]["system_us"]
        # A quarter, and one period of 100 ms of which it may use all at once.
        assert used <= 0.4 * stats["steps_us"]["run"] + 100_000, stats
    else:
        assert done.stdout.split()[1].isdigit(), "one processor"


def test_more_cpus_than_there_are_is_no_error(limited):
    limited("true", "--cpus", "4000")[0].ok()


# --- all of them, and none -------------------------------------------------------------------------------------


def test_all_limits_at_once(limited):
    done, stats = limited("cat /proc/self/cgroup", "--memory", "64M", "--pids", "20", "--cpus", "1")
    done.ok()
    assert {name: limit["means"] for name, limit in stats["limits"].items()} == limited.means
    if limited.means["memory"] in CGROUPS:
        # Its own group is the root of what it can see.
        own = {line.split(":")[1]: line.split(":")[2] for line in done.stdout.splitlines()}
        assert own["memory" if limited.means["memory"] == "cgroup1" else ""] == "/"


def test_without_limits_nothing_is_looked_at(strata, base, tmp_path):
    trace = tmp_path / "trace"
    run = strata.command("run", "--stats", tmp_path / "stats", "base", "--", "true")
    subprocess.run(
        ["strace", "-f", "-o", trace, *run], env=strata.environment(), stdin=subprocess.DEVNULL, check=True, timeout=300
    )
    assert "execve" in trace.read_text() and "cgroup" not in trace.read_text()
    stats = json.loads((tmp_path / "stats").read_text())
    assert stats["limits"] == {"memory": None, "pids": None, "cpus": None}
    assert stats["memory"] == {"peak_bytes": None, "oom_kills": None}
    assert stats["pids"] == {"peak": None, "refused": None}


@pytest.mark.parametrize(
    "option",
    ["--memory=", "--memory=1M", "--memory=x", "--memory=-1", "--pids=0", "--pids=x", "--pids=5000000", "--cpus=0",
     "--cpus=0.001", "--cpus=x", "--cpus=-1", "--cpus=9000", "--grace=x"],
)
def test_a_value_that_makes_no_sense_is_refused(strata, base, option):
    strata("run", option, "base", "--", "true").fails(125, option.partition("=")[0] + ": ")


@pytest.mark.leaves_files
@pytest.mark.parametrize("by", ["run", "gc"])
def test_the_group_of_a_killed_strata_is_taken_away_by_the_next(strata, base, by):
    process = strata.start("run", "--memory", "64M", "--pids", "9", "--cpus", "1", "base", "--", "sh", "-c", "echo up; sleep 1000")
    waiting.read_until(process, b"up")
    inside = waiting.descendants(process.pid)
    left = groups_here()
    process.kill()
    process.communicate()
    waiting.until(lambda: all(map(waiting.gone, inside)))
    assert bool(left) == any(means in CGROUPS for means in means_here(strata).values())
    if by == "run":
        strata("run", "--memory", "64M", "--pids", "9", "--cpus", "1", "base", "--", "true").ok()
    else:
        strata("gc").ok()
    assert not left & groups_here()


def test_the_group_of_a_run_that_goes_on_stays(strata, base):
    process = strata.start("run", "--memory", "64M", "base", "--", "sh", "-c", "echo up; sleep 1000")
    waiting.read_until(process, b"up")
    mine = groups_here()
    strata("run", "--memory", "64M", "base", "--", "true").ok()
    assert groups_here() == mine
    process.terminate()
    assert waiting.finish(process)[0] == 143


def test_doctor_says_which_means_there_are_and_how_to_get_better_ones(strata):
    report = {check["name"]: check for check in strata("doctor", "--json").json()["checks"]}
    for option in ("--memory", "--pids", "--cpus"):
        check = report[option]
        assert check["ok"] == (check["means"] in CGROUPS)
        assert check["ok"] or ("cgroup" in check["fix"] and check["effect"] and "no cgroup: " in check["detail"])


# --- timeouts --------------------------------------------------------------------------------------------------


def ended_after(strata, script, *options):
    start = time.monotonic()
    done = strata("run", *options, "base", "--", "sh", "-c", script)
    return done.fails(124, "timed out after "), time.monotonic() - start


def test_what_ignores_sigterm_is_killed_after_the_grace(strata, base):
    script = "trap 'echo no' TERM; echo up; while :; do sleep 0.1; done"
    done, seconds = waiting.with_time_enough(
        lambda limit: ended_after(strata, script, "--timeout", limit, "--grace", "1.6"), lambda ended: "no" in ended[0].stdout)
    assert seconds > 2


def test_without_a_grace_it_is_killed_at_once(strata, base):
    script = "trap '' TERM; sleep 1000"
    # The grace that is not given is 10 s. A busy machine may take its time.
    assert any(ended_after(strata, script, "--timeout", "0.4", "--grace", "0")[1] < 10 for _ in range(5))


def test_the_time_that_is_over_is_named(strata, base):
    done, _ = ended_after(strata, "sleep 1000", "--timeout", "0.5s")
    assert done.stderr == "strata: sh: timed out after 0.5 s\n"


def test_stopped_processes_and_daemons_end_with_the_timeout(strata, base):
    script = "(trap '' TERM; kill -STOP $$; setsid sleep 1000) & setsid sh -c 'trap \"\" TERM; sleep 1000' & kill -STOP $$"
    ended_after(strata, script, "--timeout", "0.4", "--grace", "0.4")


def test_a_timeout_and_limits_go_together(strata, base):
    ended_after(strata, "sleep 1000", "--timeout", "0.4", "--memory", "64M", "--pids", "9", "--cpus", "1")


# --- what every sandbox has --------------------------------------------------------------------------------------


def size_of(strata, place):
    return int(strata.sh(f"stat -f -c '%b %S' {place}").ok().out.split()[0]) * 4096


def test_places_in_memory_have_the_sizes_that_are_documented(strata, base):
    memory = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert size_of(strata, "/dev") == 1 << 20
    assert abs(size_of(strata, "/dev/shm") - memory / 8) < 1 << 20
    assert abs(size_of(strata, "/tmp") - memory / 4) < 1 << 20


@pytest.mark.parametrize("place", ["/dev", "/dev/shm", "/tmp"])
def test_a_place_in_memory_that_is_full_says_so(strata, base, place):
    # With --memory the two large ones are as small as that, so that filling them takes no time.
    done = strata.sh(f"dd if=/dev/zero of={place}/a bs=64k count=2000", options=("--memory", "32M"))
    done.fails(None)
    assert "No space left on device" in done.stderr or done.returncode == 137


def test_there_is_no_core_file_and_no_way_to_get_one(strata, base):
    assert strata.sh("ulimit -c; ulimit -H -c; ulimit -c unlimited 2> /dev/null || echo refused").ok().out == "0\n0\nrefused"


def test_processes_are_limited_without_being_asked(strata, base):
    limits = strata.sh("cat /proc/sys/kernel/pid_max; grep processes /proc/self/limits").ok().out.split()
    assert limits[0] == "32768" or limits[3] == "32768"
