"""`strata run`: the root that a command finds, and what it leaves behind."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest
import waiting
from archives import BUSYBOX, Dir, File, Symlink


def test_runs_the_command_in_the_root_of_the_layers(strata, base):
    assert strata("run", "base", "--", "cat", "/usr/share/greeting").ok().out == "hello"


def test_takes_a_layer_by_a_prefix_of_its_id(strata, base):
    assert strata("run", base[:8], "--", "cat", "/usr/share/greeting").ok().out == "hello"


def test_passes_arguments_as_they_are(strata, base):
    words = ["a b", "", "*", "$HOME", "--bind", "ä\n"]
    done = strata("run", "base", "--", "printf", "<%s>", *words).ok()
    assert done.stdout == "".join(f"<{word}>" for word in words)


def test_a_later_layer_wins(strata, base, layer):
    layer("loud", {"usr/share/greeting": "HELLO\n"})
    assert strata("run", "base", "loud", "--", "cat", "/usr/share/greeting").ok().out == "HELLO"
    assert strata("run", "loud", "base", "--", "cat", "/usr/share/greeting").ok().out == "hello"


def test_directories_of_several_layers_merge(strata, base, layer):
    layer("one", {"opt/one": "1"})
    layer("two", {"opt/two": "2"})
    assert strata("run", "base", "one", "two", "--", "ls", "/opt").ok().out == "one\ntwo"


def test_the_same_layer_twice_counts_once_at_its_topmost_place(strata, base, layer, tmp_path):
    layer("a", {"x": "a"})
    layer("b", {"x": "b"})
    stats = tmp_path / "stats.json"
    assert strata("run", "--stats", stats, "base", "a", "b", "a", "--", "cat", "/x").ok().stdout == "a"
    once = tmp_path / "once.json"
    strata("run", "--stats", once, "base", "b", "a", "--", "cat", "/x").ok()
    assert depth(stats) == depth(once)


def depth(stats):
    return json.loads(stats.read_text())["mounted_depth"]


def test_a_whiteout_removes_what_lies_below(strata, base, layer):
    layer("mute", {"usr/share/.wh.greeting": ""}, "--format", "oci")
    assert strata("run", "base", "mute", "--", "ls", "-A", "/usr/share").ok().out == ""


def test_a_whiteout_leaves_what_lies_above(strata, base, layer):
    layer("mute", {"usr/share/.wh.greeting": ""}, "--format", "oci")
    layer("loud", {"usr/share/greeting": "HELLO\n"})
    done = strata("run", "base", "mute", "loud", "--", "cat", "/usr/share/greeting").ok()
    assert done.out == "HELLO"


def test_an_opaque_directory_hides_what_lies_below(strata, base, layer):
    layer("fresh", {"usr/share": None, "usr/share/.wh..wh..opq": "", "usr/share/new": "n"}, "--format", "oci")
    assert strata("run", "base", "fresh", "--", "ls", "-A", "/usr/share").ok().out == "new"


def test_a_link_of_a_merged_usr_leads_to_what_a_later_layer_adds(strata, base, layer):
    layer("merged", {"usr": None, "usr/lib": None, "lib": Symlink("usr/lib")})
    layer("lib", {"usr/lib/libx.so": "elf"})
    assert strata("run", "base", "merged", "lib", "--", "cat", "/lib/libx.so").ok().out == "elf"


@pytest.mark.parametrize("name", ["proc", "dev"])
def test_refuses_a_layer_whose_mount_point_is_a_link(strata, base, layer, name):
    id = layer("odd", {"etc": None, name: Symlink("etc")})
    strata("run", "base", "odd", "--", "true").fails(125, id[:12], f"/{name}", "link")


@pytest.mark.parametrize("entry", ["a file", Symlink("var/tmp")], ids=["file", "link"])
def test_what_a_layer_has_in_place_of_tmp_is_hidden(strata, base, layer, entry):
    layer("odd", {"tmp": entry})
    done = strata("run", "base", "odd", "--", "sh", "-c", "echo x > /tmp/x; stat -c %a /tmp; ls /var/tmp")
    assert done.ok().out == "1777"


def test_300_layers_are_one_root(strata, base, layer, make_tar):
    def make(number):
        archive = make_tar(f"{number}.tar", {f"opt/{number}": "", "last": str(number)})
        strata("import", "--name", f"l{number}", archive).ok()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(300)))
    names = [f"l{number}" for number in range(300)]
    done = strata("run", "base", *names, "--", "sh", "-c", "ls /opt | wc -l; cat /last").ok()
    assert done.out.split() == ["300", "299"]


# --- what is left behind -------------------------------------------------------------------------------


def test_what_a_command_writes_is_gone_in_the_next_run(strata, base):
    strata.sh("echo x > /usr/share/new; rm /usr/share/greeting; mkdir /opt; chmod 700 /usr").ok()
    done = strata.sh("ls /usr/share; ls -d /opt; stat -c %a /usr")
    assert done.out == "greeting\n755"


def test_attributes_of_the_root_are_gone_in_the_next_run(strata, base):
    strata.sh("chmod 700 /; touch -d @1000000000 /").ok()
    assert strata("run", "base", "--", "stat", "-c", "%a %Y", "/").ok().out == "755 315532800"


def test_a_store_file_is_not_changed_by_writing_to_it(strata, base, store):
    file = store / "layers" / base / "tree/usr/share/greeting"
    before = file.stat().st_mtime_ns
    strata.sh("echo changed > /usr/share/greeting; chmod 600 /usr/share/greeting").ok()
    assert file.read_text() == "hello\n"
    assert file.stat().st_mtime_ns == before


def test_many_runs_at_once_do_not_see_each_other(strata, base):
    def one(number):
        script = f"echo {number} > /usr/share/mine; sleep 0.2; cat /usr/share/mine; ls /usr/share"
        return strata.sh(script).ok().out.split()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(16)))
    assert results == [[str(number), "greeting", "mine"] for number in range(16)]


def test_a_background_process_is_gone_when_run_returns(strata, base):
    script = "setsid sleep 1000 & sleep 0.1; echo up; cat"
    process = strata.start("run", "base", "--", "sh", "-c", script, stdin=PIPE)
    waiting.read_until(process, b"up")
    inside = waiting.until(lambda: waiting.at_least(3, waiting.descendants(process.pid)))
    assert waiting.finish(process)[0] == 0
    assert [pid for pid in inside if not waiting.gone(pid)] == []


def test_does_not_wait_for_a_background_process_that_holds_stdout(strata, base):
    # The reader would wait for the end of its pipe otherwise, as with docker.
    done = strata.sh("(sleep 1000; echo late) & echo early", timeout=300).ok()
    assert done.out == "early"


def test_orphans_are_reaped(strata, base):
    # The inner shell ends at once, so its child is pid 1's. A zombie would have state Z.
    script = "sh -c 'sleep 0.05 &'; sleep 0.3; cat /proc/[0-9]*/stat | sed 's/.*) //; s/ .*//'"
    states = strata.sh(script).ok().out.split()
    assert states
    assert "Z" not in states


def test_a_layer_in_use_cannot_be_removed(strata, base):
    process = strata.start("run", "base", "--", "sh", "-c", "echo up; cat", stdin=PIPE)
    waiting.read_until(process, b"up")
    strata("rm", "-f", "base").fails(None, base[:12], "in use")
    strata("rm", "-f", base).fails(None, base[:12], "in use")
    assert waiting.finish(process)[0] == 0  # which closes its stdin
    strata("rm", "-f", base).ok()


@pytest.mark.leaves_files
def test_a_layer_can_be_removed_once_a_killed_run_is_gone(strata, base):
    process = strata.start("run", "base", "--", "sh", "-c", "echo up; cat", stdin=PIPE)
    waiting.read_until(process, b"up")
    inside = waiting.descendants(process.pid)
    process.kill()
    process.communicate()
    waiting.until(lambda: all(map(waiting.gone, inside)), "the sandbox to die")
    strata("rm", "-f", base).ok()


# --- arguments -----------------------------------------------------------------------------------------


def test_needs_a_layer(strata):
    strata("run", "--", "true").fails(125, "LAYER")


def test_needs_a_command(strata, base):
    strata("run", "base").fails(125, "no command", "hint:", "-- COMMAND")
    strata("run", "base", "--").fails(125, "no command")


def test_an_unknown_layer_is_named_with_what_is_near(strata, base):
    strata("run", "bsae", "--", "true").fails(125, "bsae", "hint:", "base")


def test_an_unknown_option_is_refused(strata, base):
    strata("run", "--frobnicate", "base", "--", "true").fails(125, "--frobnicate")


def test_a_root_without_a_directory_is_enough(strata, layer):
    layer("tiny", {"busybox": File(Path(BUSYBOX).read_bytes(), mode=0o755)})
    assert strata("run", "tiny", "--", "/busybox", "ls", "/").ok().out == "busybox\ndev\nproc\ntmp"


def test_modes_of_directories_show_as_the_layer_has_them(strata, base, layer):
    layer("modes", {"opt": Dir(0o700), "opt/open": Dir(0o1777), "opt/shut": Dir(0o000)})
    done = strata("run", "base", "modes", "--", "stat", "-c", "%a", "/opt", "/opt/open", "/opt/shut").ok()
    assert done.out.split() == ["700", "1777", "0"]
