"""list, show, files, diff, tag, untag and rm."""

import fcntl
import os

import pytest
from archives import MTIME, Dir, File, Hardlink, Symlink

# --- list ------------------------------------------------------------------------------------------


def test_an_empty_store_lists_nothing(strata):
    for what in ("layers", "refs", "roots", "stages", "workspaces", "caches"):
        assert strata("list", what).ok().stdout == ""
        assert strata("list", "--json", what).json() == []


def test_list_shows_layers_with_their_names_and_short_ids(strata, layer):
    a = layer("a", {"x": "12345"})
    strata("tag", "a", "also/a").ok()
    header, line = strata("list").ok().out.split("\n")
    assert header.split() == ["ID", "ENTRIES", "SIZE", "CREATED", "REFS"]
    assert line.startswith(a[:12] + " ") and a[:13] not in line
    assert line.endswith("  a, also/a") and " 5 B " in line


def test_list_puts_layers_without_a_name_last(strata, layer):
    layer("b", {"x": "1"})
    layer("gone", {"x": "2"})
    layer("a", {"x": "3"})
    strata("untag", "gone").ok()
    names = [entry["refs"] for entry in strata("list", "--json").json()]
    assert names == [["a"], ["b"], []]
    assert strata("list").ok().out.endswith("  -")


def test_list_json_has_ids_in_full(strata, layer):
    a = layer("a", {"d": None, "d/x": "12345"})
    (entry,) = strata("list", "--json", "layers").json()
    assert entry["id"] == a
    assert (entry["entries"], entry["content_bytes"], entry["refs"]) == (2, 5, ["a"])
    assert entry["created"] > MTIME


def test_list_refs(strata, layer):
    a = layer("z/a", {"x": "1"})
    b = layer("b", {"x": "2"})
    assert strata("list", "refs", "--json").json() == [
        {"name": "b", "kind": "layer", "id": b},
        {"name": "z/a", "kind": "layer", "id": a},
    ]
    assert strata("list", "refs").ok().out.split() == [
        "REF", "KIND", "ID", "b", "layer", b[:12], "z/a", "layer", a[:12],
    ]


def test_list_stages_shows_only_those_that_are_locked(strata, store):
    strata("list").ok()
    for name in ("dead", "live"):
        (store / "stages" / name).mkdir()
        os.utime(store / "stages" / name, (MTIME, MTIME))
    lock = os.open(store / "stages" / "live", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert strata("list", "stages", "--json").json() == [{"name": "live", "started": MTIME}]
    finally:
        os.close(lock)
    for name in ("dead", "live"):
        (store / "stages" / name).rmdir()


def test_list_of_something_else_is_a_usage_error(strata):
    strata("list", "layer").fails(2, "strata: list: there are no 'layer'\nhint: one of layers|refs|roots|stages|workspaces|caches\n")


# --- show, files -----------------------------------------------------------------------------------


def test_show_takes_a_ref_and_an_id_prefix(strata, layer):
    a = layer("a", {"x": "12345"})
    by_ref = strata("show", "a").ok().out
    assert strata("show", a[:4]).ok().out == by_ref
    assert strata("show", a).ok().out == by_ref
    assert f"id        {a}\nrefs      a\nentries   1\ncontent   5 B (5 bytes)\n" in by_ref
    report = strata("show", "--json", a[:7]).json()
    assert report["id"] == a and report["integration_commands"] == []
    assert report["manifest_bytes"] > 200


ODD = os.fsdecode(b"sub/\xff\n\\\xc3\xa4")


@pytest.fixture
def odd(layer):
    return layer(
        "odd",
        {
            "sub": Dir(0o1777, uid=5, gid=6),
            ODD: File("12345", mode=0o4755, xattrs={"user.k": "v"}),
            "again": Hardlink(ODD),
            "link": Symlink("sub/x"),
        },
    )


def test_files_lists_one_quoted_path_a_line(strata, odd):
    assert strata("files", "odd").ok().stdout == "again\nlink\nsub\nsub/\\xff\\x0a\\x5cä\n"


def test_files_0_prints_names_as_they_are(strata, odd):
    assert strata("files", "-0", "odd").ok().stdout == f"again\0link\0sub\0{ODD}\0"


def test_files_long_has_modes_owners_sizes_times_and_targets(strata, odd):
    lines = strata("files", "-l", "odd", env={"TZ": "UTC"}).ok().out.split("\n")
    assert [line.split() for line in lines] == [
        ["-rwsr-xr-x", "0:0", "5", "2020-09-13", "12:26:40", "again"],
        ["lrwxrwxrwx", "0:0", "0", "2020-09-13", "12:26:40", "link", "->", "sub/x"],
        ["drwxrwxrwt", "5:6", "0", "2020-09-13", "12:26:40", "sub"],
        ["-rwsr-xr-x", "0:0", "5", "2020-09-13", "12:26:40", "sub/\\xff\\x0a\\x5cä"],
    ]


def test_files_json_is_lossless(strata, odd):
    again, link, sub, file = strata("files", "--json", "odd").json()
    assert bytes.fromhex(file["path_hex"]) == os.fsencode(ODD)
    assert file["hardlink"] == "again" and "hardlink" not in again
    assert (file["mode"], file["size"], file["mtime"], file["mtime_nsec"]) == ("4755", 5, MTIME, 0)
    assert file["xattrs"] == {"user.k": "v"}
    assert (sub["type"], sub["mode"], sub["uid"], sub["gid"]) == ("directory", "1777", 5, 6)
    assert (link["type"], link["target"]) == ("symlink", "sub/x")


# --- diff ------------------------------------------------------------------------------------------


def test_diff_prints_a_letter_and_a_path_and_exits_with_0(strata, layer):
    layer("a", {"both": "1", "changed": "1", "gone": None, "gone/x": "", "touched": File("", mode=0o600)})
    layer("b", {"both": "1", "changed": "2", "new": None, "touched": File("", mode=0o644)})
    assert strata("diff", "a", "b").ok().stdout == "M changed\nD gone\nD gone/x\nA new\nM touched\n"
    assert strata("diff", "-l", "a", "b").ok().out.split("\n")[0] == "M changed (content)"
    assert strata("diff", "b", "a", "--json").json() == [
        {"status": "M", "path": "changed", "changed": ["content"]},
        {"status": "A", "path": "gone"},
        {"status": "A", "path": "gone/x"},
        {"status": "D", "path": "new"},
        {"status": "M", "path": "touched", "changed": ["mode"]},
    ]


def test_diff_of_a_layer_with_itself_says_nothing(strata, layer):
    a = layer("a", {"x": "1"})
    assert strata("diff", "a", a).ok().stdout == ""
    assert strata("diff", "--json", "a", "a").json() == []


# --- tag, untag, rm --------------------------------------------------------------------------------


def refs(strata):
    return {ref["name"]: ref["id"] for ref in strata("list", "refs", "--json").json()}


def layers(strata):
    return {entry["id"] for entry in strata("list", "--json").json()}


def test_tag_names_a_layer_and_moves_a_name(strata, layer):
    a, b = layer("a", {"x": "1"}), layer("b", {"x": "2"})
    assert strata("tag", "a", "x/y:1").ok().stdout == ""
    assert strata("tag", "--json", b[:8], "x/y:1").json() == {
        "ref": "x/y:1", "kind": "layer", "id": b,
    }
    assert refs(strata) == {"a": a, "b": b, "x/y:1": b}


def test_untag_leaves_the_layer(strata, layer):
    a = layer("a", {"x": "1"})
    assert strata("untag", "--json", "a").json() == {"untagged": ["a"]}
    assert refs(strata) == {} and layers(strata) == {a}


def test_untag_changes_nothing_when_one_name_is_wrong(strata, layer):
    layer("a", {"x": "1"})
    strata("untag", "a", "b").fails(1, "strata: no ref b\n")
    assert set(refs(strata)) == {"a"}


def test_rm_of_a_ref_takes_the_layer_only_with_its_last_name(strata, layer):
    a = layer("a", {"x": "1"})
    strata("tag", "a", "b").ok()
    assert strata("rm", "a").ok().stdout == "untagged a\n"
    assert layers(strata) == {a}
    assert strata("rm", "b").ok().stdout == f"untagged b\nremoved {a[:12]}\n"
    assert layers(strata) == set()


def test_rm_of_an_id_with_one_name_or_none_removes_both(strata, layer):
    a, b = layer("a", {"x": "1"}), layer("b", {"x": "2"})
    strata("untag", "b").ok()
    done = strata("rm", "--json", a[:6], b).json()
    assert done == {"untagged": ["a"], "removed": [a, b], "workspaces": [], "caches": []}
    assert layers(strata) == set() and refs(strata) == {}


def test_rm_of_an_id_with_several_names_needs_force(strata, layer):
    a = layer("a", {"x": "1"})
    strata("tag", "a", "b").ok()
    strata("rm", a[:8]).fails(
        1,
        f"strata: remove {a[:8]}: the layer has 2 names: a, b\n"
        f"hint: remove one by its name, or all with: strata rm --force {a[:8]}\n",
    )
    assert layers(strata) == {a}
    strata("rm", "-f", a[:8]).ok()
    assert layers(strata) == set() and refs(strata) == {}


def test_rm_of_both_names_in_one_call_removes_the_layer(strata, layer):
    layer("a", {"x": "1"})
    strata("tag", "a", "b").ok()
    strata("rm", "a", "b").ok()
    assert layers(strata) == set()


def test_rm_changes_nothing_when_one_name_is_wrong(strata, layer):
    a = layer("a", {"x": "1"})
    strata("rm", "a", "nope").fails(1, "strata: no layer or ref named nope\n")
    assert layers(strata) == {a} and set(refs(strata)) == {"a"}


def test_rm_refuses_a_layer_in_use_and_keeps_its_name(strata, store, layer):
    a = layer("a", {"x": "1"})
    lease = os.open(store / "layers" / a / "tree", os.O_RDONLY)
    try:
        fcntl.flock(lease, fcntl.LOCK_SH)
        strata("rm", "a").fails(
            1, f"strata: remove {a[:12]}: layer {a[:12]} is in use by a running stage\n"
        )
    finally:
        os.close(lease)
    assert layers(strata) == {a} and set(refs(strata)) == {"a"}


def test_rm_removes_a_tree_that_its_owner_cannot_enter(strata, store, layer):
    layer("a", {"d": Dir(0), "d/e": Dir(0), "d/e/f": File("", mode=0)})
    strata("rm", "a").ok()
    assert list((store / "layers").iterdir()) == list((store / "trash").iterdir()) == []
