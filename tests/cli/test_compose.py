"""strata compose, and what run makes of the same: roots are composed once and found again."""

import json
import os
import subprocess

import pytest

KEY = r"[0-9a-f]{32}"


def stats_of(strata, tmp_path, *args, **kwargs):
    file = tmp_path / "stats.json"
    strata("run", "--stats", file, *args, **kwargs).ok()
    return json.loads(file.read_text())


def roots(store):
    return sorted(path.name for path in (store / "roots").iterdir()) if (store / "roots").exists() else []


def test_prints_the_key_and_nothing_else(strata, base):
    done = strata("compose", "base").ok()
    assert len(done.out) == 32 and set(done.out) <= set("0123456789abcdef")
    assert done.stderr == ""


def test_the_key_follows_the_set_and_its_order(strata, base, layer):
    layer("one", {"opt/1": "1"})
    layer("two", {"opt/2": "2"})
    key = strata("compose", "base", "one", "two").ok().out
    assert strata("compose", "base", "one", "two").ok().out == key
    assert strata("compose", "base", "two", "one").ok().out != key
    assert strata("compose", "base", "one").ok().out != key
    assert strata("compose", "--integrate", "true", "base", "one", "two").ok().out != key
    assert strata("compose", "--on-conflict", "skip", "base", "one", "two").ok().out != key


def test_a_layer_that_is_named_twice_counts_at_its_topmost_place(strata, base, layer):
    layer("one", {"opt/x": "1"})
    layer("two", {"opt/x": "2"})
    assert strata("compose", "base", "one", "two", "one").ok().out == strata("compose", "base", "two", "one").ok().out
    assert strata.sh("cat /opt/x", "base", "one", "two", "one").ok().out == "1"


def test_json_tells_what_is_mounted(strata, base, layer, store):
    one = layer("one", {"opt/1": "1"})
    report = strata("compose", "--json", "base", "one").json()
    assert report["hit"] is False
    assert report["method"] == "direct"
    assert (report["layers"], report["depth"]) == (2, 2)
    assert report["lowers"] == [f"layers/{base}/tree", f"layers/{one}/tree"]
    assert roots(store) == [report["key"]]
    assert strata("compose", "--json", "base", "one").json()["hit"] is True


def test_run_finds_what_compose_made(strata, base, tmp_path):
    key = strata("compose", "base").ok().out
    stats = stats_of(strata, tmp_path, "base", "--", "true")
    assert (stats["cache"], stats["root"], stats["method"], stats["layer_count"]) == ("hit", key, "direct", 1)
    assert stats["compose_us"] >= 0


def test_run_composes_when_it_is_the_first(strata, base, tmp_path, store):
    stats = stats_of(strata, tmp_path, "base", "--", "true")
    assert stats["cache"] == "miss"
    assert roots(store) == [stats["root"]]
    assert stats_of(strata, tmp_path, "base", "--", "true")["cache"] == "hit"


def test_a_long_chain_is_mounted_with_a_small_depth(strata, base, layer, tmp_path):
    names = [f"l{number}" for number in range(20)]
    for name in names:
        layer(name, {"opt": None, f"opt/{name}": name, "opt/last": name})
    stats = stats_of(strata, tmp_path, "base", *names, "--", "true")
    assert stats["method"] == "segments"
    assert stats["mounted_depth"] <= 7
    done = strata.sh("cat /opt/l0 /opt/l19 /opt/last; ls /opt | wc -l", "base", *names).ok()
    assert done.out.split() == ["l0l19l1921"]


def test_a_conflict_names_both_layers_and_the_path(strata, base, layer, store):
    one = layer("one", {"opt": None, "opt/x": None, "opt/x/y": "1"})
    two = layer("two", {"opt": None, "opt/x": "2"})
    strata("compose", "base", "one", "two").fails(2, "conflict", one[:12], two[:12], "opt/x", "--on-conflict")
    strata("run", "base", "one", "two", "--", "true").fails(125, "conflict", "opt/x")
    assert roots(store) == []


@pytest.mark.parametrize("policy, shown", [("replace", "2"), ("skip", "1")])
def test_conflicts_are_resolved_as_asked(strata, base, layer, policy, shown):
    layer("one", {"opt": None, "opt/x": None, "opt/x/y": "1"})
    layer("two", {"opt": None, "opt/x": "2"})
    done = strata.sh("cat /opt/x /opt/x/y 2>/dev/null; true", "base", "one", "two", options=("--on-conflict", policy))
    assert done.ok().out == shown
    assert "opt/x" in done.stderr


def test_an_unknown_policy_is_refused(strata, base):
    strata("compose", "--on-conflict", "maybe", "base").fails(2, "--on-conflict", "error|replace|skip")


def test_an_unknown_layer_is_not_found(strata, base):
    strata("compose", "base", "nosuch").fails(1, "nosuch")


def test_a_link_where_a_sandbox_mounts_is_refused(strata, base, layer):
    layer("bad", {"usr": None, "proc": "not a directory"})
    strata("compose", "base", "bad").fails(None, "/proc")


# --- what somebody did behind the store's back


def test_a_layer_that_was_deleted_by_hand_is_named(strata, base, layer, store):
    one = layer("one", {"opt/1": "1"})
    strata("compose", "base", "one").ok()
    (store / "layers" / one).rename(store / "layers" / "away")
    strata("run", "base", "one", "--", "true").fails(125, one, "strata fsck")
    strata("run", "--tmpfs", "/opt", "base", "one", "--", "true").fails(125, one, "strata fsck")


def test_a_tree_that_is_a_file_now_is_named(strata, base, layer, store):
    one = layer("one", {"opt/1": "1"})
    strata("compose", "base", "one").ok()
    (store / "layers" / one / "tree").rename(store / "layers" / one / "away")
    (store / "layers" / one / "tree").write_text("")
    strata("run", "base", "one", "--", "true").fails(125, one, "strata fsck")


@pytest.mark.parametrize("whole", [True, False])
def test_a_derived_layer_that_was_deleted_by_hand_is_made_again(strata, base, store, whole):
    options = ("--integrate", "echo x > /made")
    derived = strata("compose", *options, "--json", "base").json()["lowers"][-1]
    assert derived.startswith("derived/integration-")
    subprocess.run(["rm", "-rf", store / (os.path.dirname(derived) if whole else derived)], check=True)
    assert strata.sh("cat /made", options=options).ok().out == "x"
    assert (store / derived).is_dir()


def test_a_damaged_entry_is_composed_again(strata, base, store):
    key = strata("compose", "base").ok().out
    path = store / "roots" / key
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert strata("compose", "--json", "base").json()["hit"] is False
    assert strata("compose", "--json", "base").json()["hit"] is True


# --- a store that cannot be written to


@pytest.fixture
def read_only(strata, store):
    """read_only(*args) runs strata with a store on a read-only mount, or without any right to write."""
    if os.geteuid() == 0:
        # Root writes wherever it wants, but not on a read-only mount.
        mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'

        def run(*args):
            command = ["unshare", "-m", "sh", "-c", mount, str(store), *strata.command(*args)]
            return subprocess.run(command, capture_output=True, text=True, env=strata.environment(), cwd=strata.home)

        yield run
        return
    directories = [path for path in (store, *store.iterdir()) if path.is_dir()]
    directories += [path for path in (store / "stages").iterdir()]
    modes = [(path, path.stat().st_mode) for path in directories]
    for path in directories:
        path.chmod(0o500)
    yield lambda *args: subprocess.run(
        strata.command(*args), capture_output=True, text=True, env=strata.environment(), cwd=strata.home
    )
    for path, mode in modes:
        path.chmod(mode)


@pytest.fixture
def composed(strata, base, layer):
    layer("one", {"opt/1": "1"})
    strata.sh("true", "base", "one").ok()
    strata.sh("true", "base", "one", options=("--integrate", "echo x > /made")).ok()
    strata.sh("true", "base", options=("--tmpfs", "/job")).ok()


@pytest.mark.parametrize("args, out", [
    (("base", "one", "--", "cat", "/opt/1"), "1"),
    (("--read-only", "base", "one", "--", "cat", "/opt/1"), "1"),
    (("base", "one", "--", "sh", "-c", "echo w > /w; cat /w"), "w\n"),
    (("--integrate", "echo x > /made", "base", "one", "--", "cat", "/made"), "x\n"),
    (("--tmpfs", "/job", "base", "--", "sh", "-c", "echo w > /job/w; cat /job/w"), "w\n"),
])
def test_a_cached_root_runs_in_a_store_that_is_read_only(composed, read_only, args, out):
    done = read_only("run", *args)
    assert (done.returncode, done.stdout) == (0, out), done.stderr


def test_a_short_new_set_runs_in_a_store_that_is_read_only(composed, read_only):
    done = read_only("run", "one", "base", "--", "cat", "/opt/1")
    assert (done.returncode, done.stdout) == (0, "1"), done.stderr


def test_what_has_to_be_made_is_refused_in_a_store_that_is_read_only(composed, read_only):
    for args in (("compose", "--integrate", "true", "base"), ("run", "--integrate", "true", "base", "--", "true"),
                 ("run", "--capture", "new", "base", "one", "--", "true")):
        done = read_only(*args)
        assert done.returncode != 0
        assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr, done.stderr


# --- several at once


def test_many_processes_compose_one_set(strata, base, layer, store):
    names = [f"l{number}" for number in range(12)]
    for name in names:
        layer(name, {"opt": None, f"opt/{name}": name})
    running = [strata.start("compose", "base", *names) for _ in range(6)]
    keys = {process.communicate(timeout=300)[0] for process in running}
    assert [process.returncode for process in running] == [0] * 6
    assert len(keys) == 1
    assert len(roots(store)) == 1
    assert strata.sh("ls /opt | wc -l", "base", *names).ok().out == "12"


def test_a_set_that_is_not_cached_is_not_left_in_place(strata, base, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "x").write_text("x")
    strata("stage", "base", f"dir:{plain}", tmp_path / "at").fails(None, "cannot be cached", "dir:PATH@KEY")
    assert not (tmp_path / "at").exists()
    done = strata("stage", "base", f"dir:{plain}@1", tmp_path / "at", "--", "true")
    assert "cannot be cached" not in done.stderr


def test_a_directory_without_a_key_has_no_root_to_keep(strata, base, store, tmp_path):
    (tmp_path / "art").mkdir()
    done = strata("compose", "--name", "r", "base", f"dir:{tmp_path}/art")
    done.fails(2, "this root cannot be cached", "hint: a plain directory needs a key: dir:PATH@KEY")
    assert done.stdout == ""
    strata("show", "r").fails()
