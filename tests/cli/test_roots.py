"""Composed roots: list, show, tag, rm, and what the collector does with them."""

import os
import time

import pytest

ROOT = os.geteuid() == 0
FUSE = os.access("/dev/fuse", os.R_OK | os.W_OK)


@pytest.fixture
def root(strata, layer, tmp_path):
    """The key of a cached root of the layers a and b."""
    layer("a", {"x": "1"})
    layer("b", {"y": "2"})
    strata("stage", "a", "b", tmp_path / "at", "--", "true").ok()
    (entry,) = strata("list", "--json", "roots").json()
    return entry["key"]


def make_old(store):
    """Everything in the store, as if nobody had used it for two hours."""
    then = time.time() - 7200
    for place in ("layers", "derived"):
        for directory in (store / place).iterdir():
            os.utime(directory, (then, then))
            os.utime(directory / "manifest", (then, then))
    for file in (store / "roots").iterdir():
        os.utime(file, (then, then))


def test_list_roots(strata, root):
    (entry,) = strata("list", "--json", "roots").json()
    assert (entry["layer_count"], entry["depth"], entry["method"], entry["refs"]) == (2, 2, "direct", [])
    assert abs(entry["last_used"] - time.time()) < 60
    header, line = strata("list", "roots").ok().out.split("\n")
    assert header.split() == ["KEY", "LAYERS", "DEPTH", "METHOD", "LAST", "USED", "REFS"]
    assert line.split()[:4] == [root[:12], "2", "2", "direct"] and line.endswith("  -")


def test_show_takes_a_key_a_prefix_and_a_name(strata, root):
    strata("tag", root, "app").ok()
    by_key = strata("show", root).ok().out
    assert by_key == strata("show", root[:6]).ok().out == strata("show", "app").ok().out
    a, b = (entry["id"] for entry in strata("list", "--json").json())
    assert f"key       {root}\nrefs      app\nmethod    direct\nlayers    2\n" in by_key
    assert f"layer     {a[:12]}  a\nlayer     {b[:12]}  b\nmounts    layers/{a}/tree\n" in by_key
    report = strata("show", "--json", "app").json()
    assert [layer["id"] for layer in report["layers"]] == [a, b]
    assert report["lowers"] == [f"layers/{a}/tree", f"layers/{b}/tree"]
    assert (report["key"], report["on_conflict"], report["integration_commands"]) == (root, "error", [])


def test_a_root_can_have_a_name_as_a_layer_can(strata, root):
    assert strata("tag", "--json", root[:8], "app").json() == {"ref": "app", "kind": "root", "id": root}
    refs = {entry["name"]: (entry["kind"], entry["id"]) for entry in strata("list", "--json", "refs").json()}
    assert refs["app"] == ("root", root) and refs["a"][0] == "layer"
    strata("files", "app").fails(2, "app is a composed root, not a layer\n", f"strata show {root[:12]}")
    assert strata("untag", "app").ok()
    assert strata("list", "--json", "roots").json()[0]["refs"] == []


def test_compose_names_the_root(strata, root):
    assert strata("compose", "--name", "app", "a", "b").ok().out == root
    assert strata("list", "--json", "roots").json()[0]["refs"] == ["app"]


def test_rm_of_a_root_leaves_its_layers(strata, root):
    strata("tag", root, "app").ok()
    assert strata("rm", "app").ok().out == f"untagged app\nremoved {root[:12]}"
    assert strata("list", "--json", "roots").json() == []
    assert len(strata("list", "--json").json()) == 2
    strata("rm", root).fails(1, f"no cached root {root}")


def test_a_layer_that_a_root_with_a_name_needs_is_not_removed(strata, store, root):
    strata("tag", root, "app").ok()
    hint = f"hint: remove the root first: strata rm {root[:12]}\n"
    strata("rm", "a").fails(1, f"is needed by root {root[:12]}, which has a name: app\n", hint)
    assert len(strata("list", "--json", "refs").json()) == 3, "all stays as it is"
    strata("untag", "a", "b").ok()
    make_old(store)
    assert strata("gc", "--json", "--all").json()["layers"] == []
    strata("untag", "app").ok()
    strata("pin", root).ok()
    assert strata("gc", "--json", "--all").json()["layers"] == []


def test_a_cached_root_goes_with_its_layers(strata, store, root):
    strata("rm", "a").ok()
    assert strata("list", "--json", "roots").json() == []


def test_gc_takes_a_root_and_layers_that_nobody_named(strata, store, root):
    ids = sorted(entry["id"] for entry in strata("list", "--json").json())
    make_old(store)
    assert strata("gc", "--json").json()["roots"] == [], "layers with names stay, and the root with them"
    strata("untag", "a", "b").ok()
    report = strata("gc", "--json").json()
    assert (report["roots"], sorted(report["layers"])) == ([root], ids)
    assert not list((store / "roots").iterdir()) and not list((store / "layers").iterdir())


@pytest.mark.parametrize("method", ["copy", *(["overlay"] if ROOT else ["fuse"] if FUSE else [])])
def test_a_root_that_is_mounted_at_a_directory_is_in_use(strata, store, root, tmp_path, method):
    strata("stage", "-m", method, "a", "b", tmp_path / "at").ok()
    strata("untag", "a", "b").ok()
    make_old(store)
    report = strata("gc", "--json", "--all").json()
    if method == "copy":  # is the caller's own, and needs the store no more
        assert report["roots"] == [root]
    else:
        assert report["roots"] == report["layers"] == []
        strata("rm", root).fails(1, f"root {root[:12]} is in use by a running stage")
    assert (tmp_path / "at" / "y").read_text() == "2"
    strata("unstage", tmp_path / "at").ok()
    strata("gc", "--json", "--all").ok()
    assert strata("list", "--json", "roots").json() == []


def test_a_damaged_root_is_made_again(strata, store, root, tmp_path):
    file = store / "roots" / root
    file.write_bytes(file.read_bytes()[:-1])
    assert strata("list", "--json", "roots").json() == []
    strata("show", root).fails(1, f"cached root {root[:12]} is damaged")
    strata("stage", "a", "b", tmp_path / "at", "--", "true").ok()
    assert strata("list", "--json", "roots").json()[0]["key"] == root
