"""Integration commands: they run once per dependency set, and what they change is part of its root."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from archives import File, Symlink
from waiting import until

# The number of times that a command has run is the number of lines it has left in the root: a second run
# would find the first one's file and add to it, or make a root of its own.
COUNT = "echo run >> /count"


def integrated(store):
    return sorted(path.name for path in (store / "derived").glob("integration-*"))


def test_a_command_that_stops_itself_is_an_error(strata, base):
    """There is nobody to continue it; composing would wait for ever."""
    strata("compose", "--integrate", "kill -STOP $$", "base").fails(
        1, "integrate: kill -STOP $$: stopped itself by signal 19\n", "hint: nobody is there to continue")


def test_runs_before_the_root_is_used(strata, base):
    assert strata.sh("cat /made", options=("--integrate", "echo x > /made")).ok().out == "x"


def test_runs_once_for_a_set(strata, base, store):
    for _ in range(3):
        done = strata.sh("cat /count", options=("--integrate", f"{COUNT}; echo integrating")).ok()
        assert done.out == "run"
    assert "integrating" not in done.stderr
    assert len(integrated(store)) == 1


def test_compose_run_and_another_run_share_it(strata, base, store):
    done = strata("compose", "--integrate", "echo integrating", "--integrate", COUNT, "base").ok()
    assert "integrating" in done.stderr
    options = ("--integrate", "echo integrating", "--integrate", COUNT)
    done = strata.sh("cat /count", options=options).ok()
    assert (done.out, done.stderr) == ("run", "")


def test_each_set_has_its_own(strata, base, layer, store):
    layer("one", {"opt/1": "1"})
    options = ("--integrate", "ls /opt > /list 2>/dev/null || true")
    assert strata.sh("cat /list", options=options).ok().out == ""
    assert strata.sh("cat /list", "base", "one", options=options).ok().out == "1"
    assert len(integrated(store)) == 2


def test_run_in_the_order_given(strata, base):
    options = [word for number in range(4) for word in ("--integrate", f"echo {number} >> /order")]
    assert strata.sh("cat /order", options=options).ok().out.split() == ["0", "1", "2", "3"]


def test_a_later_one_sees_removals_and_changes_of_an_earlier_one(strata, base):
    options = ("--integrate", "rm /usr/share/greeting; mkdir /d; echo 1 > /d/x", "--integrate",
               "test ! -e /usr/share/greeting && rm /d/x && rmdir /d && echo gone > /d")
    assert strata.sh("cat /d; ls /usr/share", options=options).ok().out == "gone"


def test_layers_declare_theirs(strata, base, layer):
    one = layer("one", {"opt/1": "1"}, "--integrate", "echo one >> /order", "--integrate", "echo uno >> /order")
    two = layer("two", {"opt/2": "2"}, "--integrate", "echo two >> /order")
    assert strata.sh("cat /order", "base", "one", "two").ok().out.split() == ["one", "uno", "two"]
    assert strata.sh("cat /order", "base", "two", "one").ok().out.split() == ["two", "one", "uno"]
    options = ("--integrate", "echo own >> /order")
    assert strata.sh("cat /order", "base", "one", "two", options=options).ok().out.split() == ["one", "uno", "two", "own"]
    assert strata("show", "--json", one).json()["integration_commands"] == ["echo one >> /order", "echo uno >> /order"]
    assert "integrate echo two >> /order" in strata("show", two).ok().stdout


def test_what_a_layer_declares_is_part_of_its_id(strata, base, layer):
    assert layer("with", {"opt/1": "1"}, "--integrate", "true") != layer("without", {"opt/1": "1"})


@pytest.mark.parametrize("command", [("import", "--integrate", ""), ("compose", "--integrate", "", "base"),
                                     ("run", "--integrate", "", "base", "--", "true")])
def test_an_empty_command_is_refused(strata, base, base_tar, command):
    operands = (base_tar,) if command[0] == "import" else ()
    strata(*command, *operands).fails(None, "--integrate", "empty")


def test_a_command_that_changes_nothing_adds_no_layer(strata, base, store):
    report = strata("compose", "--json", "--integrate", "true", "--integrate", "ls / > /dev/null", "base").json()
    assert report["depth"] == 1
    assert integrated(store) == []
    assert strata("compose", "--json", "--integrate", "true", "--integrate", "ls / > /dev/null", "base").json()["hit"]


def test_what_is_mounted_is_not_kept(strata, base):
    options = ("--integrate", "echo 1 > /tmp/x; echo 2 > /dev/shm/x; echo 3 > /kept")
    assert strata.sh("ls /tmp /dev/shm; cat /kept", options=options).ok().out.split() == ["/dev/shm:", "/tmp:", "3"]


def test_a_capture_holds_nothing_of_it(strata, base):
    options = ("--integrate", "echo x > /made", "--capture", "new")
    strata.sh("echo y > /mine", options=options).ok()
    assert strata("files", "new").ok().out.split() == ["/", "/mine"] or "/made" not in strata("files", "new").out


def test_a_root_that_is_staged_at_a_directory_has_it(strata, base, layer, tmp_path):
    layer("one", {"opt/1": "1"}, "--integrate", "echo x > /made")
    strata("stage", "--method", "copy", "base", "one", tmp_path / "at").ok()
    assert (tmp_path / "at/made").read_text() == "x\n"
    strata("unstage", tmp_path / "at").ok()


def test_has_no_network(strata, base):
    options = ("--net", "host", "--integrate", "tail -n +3 /proc/net/dev | sed 's/:.*//' > /links")
    assert strata.sh("cat /links", options=options).ok().out.split() == ["lo"]


def test_has_the_default_environment_and_nothing_of_the_callers(strata, base):
    options = ("--env", "SECRET=1", "--integrate", "env | sort > /env; cat > /stdin; id -u > /id")
    done = strata.sh("cat /env /stdin /id", options=options, input="not for the command\n").ok()
    assert "PATH=/usr/local/sbin" in done.out and "HOME=/root" in done.out and "TERM=dumb" in done.out
    assert "SECRET" not in done.out and "not for the command" not in done.out
    assert done.out.endswith("\n0")


def test_has_the_filter_and_few_capabilities(strata, base):
    done = strata.sh("cat /tried", options=("--seccomp", "none", "--cap-add", "ALL", "--integrate",
                                            "mount -t tmpfs none /usr 2>/dev/null; echo $? > /tried"))
    assert done.ok().out != "0"


def test_source_date_epoch_is_the_time_of_what_it_changes(strata, base):
    options = ("--integrate", "mkdir /d; echo x > /d/x")
    done = strata.sh("stat -c %Y /d /d/x", options=options, env={"SOURCE_DATE_EPOCH": "1234567890"}).ok()
    assert done.out.split() == ["1234567890", "1234567890"]


# --- failures


@pytest.mark.parametrize("script, told", [
    ("echo some output; echo more >&2; exit 3", "exited with status 3"),
    ("echo some output; kill -9 $$", "was killed by signal 9"),
    ("echo some output; nosuchcommand", "exited with status 127"),
])
def test_a_command_that_fails_is_named_and_its_output_shown(strata, base, store, script, told):
    done = strata("compose", "--integrate", "echo fine > /x", "--integrate", script, "base").fails(1)
    assert f"integrate: {script}: {told}" in done.stderr
    assert done.stderr.count("some output") >= 2  # as it came, and in the hint
    assert "hint: it said:" in done.stderr
    assert done.stdout == ""
    assert not list((store / "roots").iterdir()) and integrated(store) == []
    quiet = strata("compose", "-q", "--integrate", script, "base").fails(1)
    assert quiet.stderr.splitlines()[0].startswith("strata: integrate:")
    strata("run", "--integrate", script, "base", "--", "true").fails(125, told)


def test_the_next_attempt_starts_afresh(strata, base, layer):
    command = ("--integrate", "echo x >> /count; test -e /opt/ok")
    strata("compose", *command, "base").fails(1)
    layer("ok", {"opt/ok": ""})
    assert strata.sh("cat /count", "base", "ok", options=command).ok().out == "x"


def test_a_root_without_a_shell_is_told_what_it_lacks(strata, layer, store):
    layer("bare", {"opt/x": ""}, "--integrate", "ldconfig")
    strata("compose", "bare").fails(1, "integrate: ldconfig: /bin/sh", "hint: ", "add the layer that has it")


def test_lines_of_any_kind_are_shown_safely(strata, base):
    done = strata("compose", "--integrate", r"printf 'a\tb\033[31m\n%05000d\nlast' 7", "base").ok()
    assert "a\tb\\x1b[31m\n" in done.stderr and done.stderr.endswith("last\n")
    assert "\x1b" not in done.stderr and "0007\n" in done.stderr


@pytest.mark.leaves_files
def test_killed_in_the_middle_it_leaves_nothing(strata, base, base_tar, store):
    process = strata.start("compose", "--integrate", "echo half > /half; echo started; sleep 1000", "base")
    until(lambda: b"started" in process.stderr.readline(), "the command has started")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    process.stdout.close()
    assert not list((store / "roots").iterdir()) and integrated(store) == []
    time.sleep(2)  # what is younger may belong to somebody who is just starting

    def swept_up():
        strata("import", base_tar).ok()  # as any import does, once the sandbox is gone
        return list((store / "tmp").iterdir()) == []

    until(swept_up, "an import to sweep up")
    assert strata.sh("ls /", options=("--integrate", COUNT)).ok()


@pytest.mark.leaves_files
def test_ctrl_c_ends_it(strata, base, store):
    process = strata.start("compose", "--integrate", "echo started; sleep 1000", "base")
    until(lambda: b"started" in process.stderr.readline(), "the command has started")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == -signal.SIGINT
    process.stderr.close()
    process.stdout.close()
    assert not list((store / "roots").iterdir())


def test_the_timeout_of_a_run_ends_it(strata, base, store):
    done = strata.sh("true", options=("--timeout", "0.5", "--integrate", "echo started; sleep 1000"))
    done.fails(125, "integrate: echo started; sleep 1000: timed out", "hint: it said: started")
    assert not list((store / "roots").iterdir())
    strata.sh("true", options=("--timeout", "60", "--integrate", "echo x > /x")).ok()


@pytest.mark.leaves_files
def test_who_waits_for_one_that_hangs_says_so_and_may_time_out_or_be_ended(strata, base, store):
    command = ("--integrate", "echo started; sleep 1000")
    first = strata.start("compose", *command, "base")
    until(lambda: b"started" in first.stderr.readline(), "the command has started")
    strata.sh("true", options=("--timeout", "0.2", *command)).fails(
        125, "waiting for another strata that runs the commands of this root", "timed out while another strata")
    second = strata.start("compose", *command, "base")
    until(lambda: b"waiting for another strata" in second.stderr.readline(), "the second waits")
    second.send_signal(signal.SIGINT)
    assert second.wait(timeout=60) == -signal.SIGINT
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=60) == -signal.SIGINT
    for process in (first, second):
        process.communicate()


def test_two_at_once_run_it_once(strata, base, store):
    command = ("compose", "--integrate", "echo integrating; cat /proc/sys/kernel/random/uuid > /id; sleep 0.5", "base")
    running = [strata.start(*command) for _ in range(4)]
    told = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert len({out for out, _ in told}) == 1
    assert sum(err.count(b"integrating") for _, err in told) == 1
    assert len(integrated(store)) == 1 and len(list((store / "roots").iterdir())) == 1


# --- a real one


def dynamic_program_with_its_libraries(program):
    """{path in the root: file of the host} of a dynamically linked program, its loader included."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    paths = [word for word in listed.split() if word.startswith("/")]
    return {path: Path(path).resolve() for path in [program, *paths]}


@pytest.fixture
def debian(strata, layer):
    """A root of this machine's own libc-bin, C library and dash: as Debian's packages install them."""
    ldconfig = Path("/sbin/ldconfig")
    # Debian's is a script around the real one, which is static.
    real = ldconfig.with_name("ldconfig.real") if ldconfig.with_name("ldconfig.real").exists() else ldconfig
    if not real.exists() or not shutil.which("dash") or not shutil.which("gcc"):
        pytest.skip("needs ldconfig, dash and gcc on this machine: apt-get install libc-bin dash gcc")
    entries = {"sbin": Symlink("usr/sbin"), "bin": Symlink("usr/bin"), "lib": Symlink("usr/lib"), "lib64": Symlink("usr/lib64"),
               "usr": None, "usr/sbin": None, "usr/bin": None, "usr/lib": None, "usr/lib64": None, "etc": None, "var": None,
               "var/cache": None, "var/cache/ldconfig": None, "usr/local": None, "usr/local/lib": None}
    files = dynamic_program_with_its_libraries("/bin/dash")
    for path, source in files.items():
        place = path.lstrip("/")
        place = place if place.startswith("usr/") else f"usr/{place}"
        parts = place.split("/")
        for depth in range(1, len(parts)):
            entries.setdefault("/".join(parts[:depth]), None)
        entries[place] = File(source.read_bytes(), mode=0o755)
    entries["usr/bin/sh"] = Symlink("dash")
    entries["usr/sbin/ldconfig"] = File(real.read_bytes(), mode=0o755)
    entries["etc/ld.so.conf"] = "/usr/local/lib\n/opt/greet/lib\n"
    layer("debian", entries)


def test_ldconfig_makes_the_libraries_of_later_layers_known(strata, debian, layer, tmp_path, store):
    """What integration is for: the loader finds a library that only ldconfig's cache tells of."""
    build = tmp_path / "build"
    build.mkdir()
    (build / "greet.c").write_text('const char *greet(void) { return "hello from a library"; }\n')
    (build / "main.c").write_text('#include <stdio.h>\nconst char *greet(void);\nint main(void) { puts(greet()); }\n')
    gcc = ["gcc", "-o"]
    subprocess.run([*gcc, "libgreet.so.1.0", "-shared", "-fPIC", "-Wl,-soname,libgreet.so.1", "greet.c"], cwd=build, check=True)
    subprocess.run([*gcc, "hello", "main.c", "libgreet.so.1.0"], cwd=build, check=True)
    layer("libgreet", {"opt": None, "opt/greet": None, "opt/greet/lib": None,
                       "opt/greet/lib/libgreet.so.1.0": File((build / "libgreet.so.1.0").read_bytes(), mode=0o755)})
    layer("hello", {"usr": None, "usr/bin": None, "usr/bin/hello": File((build / "hello").read_bytes(), mode=0o755)})

    layers = ("debian", "libgreet", "hello")
    strata("run", *layers, "--", "hello").fails(127, "libgreet.so.1")
    assert strata("run", "--integrate", "ldconfig", *layers, "--", "hello").ok().out == "hello from a library"
    report = strata("compose", "--json", "--integrate", "ldconfig", *layers).json()
    assert report["hit"] is True
    made = store / report["lowers"][-1]
    assert (made / "etc/ld.so.cache").is_file()
    assert os.readlink(made / "opt/greet/lib/libgreet.so.1") == "libgreet.so.1.0"
    # ldconfig's own cache names inodes and times of files: it is made anew by the next ldconfig.
    done = strata.sh("ldconfig -p", *layers, options=("--integrate", "ldconfig")).ok()
    assert "libgreet.so.1" in done.out and "libc.so.6" in done.out
