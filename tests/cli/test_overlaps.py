"""strata overlaps: which paths several layers provide, who wins, what conflicts."""

import pytest


@pytest.fixture
def layers(layer):
    layer("a", {"etc/x": b"a", "same": b"s", "usr/share/dir/file": b"d", "only-a": b"a"})
    layer("b", {"etc/x": b"b", "same": b"s"})
    layer("c", {"etc/x": b"c"})
    layer("blocks", {"usr/share/dir": b"a file"})


def test_the_winner_comes_first(strata, layers):
    done = strata("overlaps", "a", "b", "c").ok()
    assert done.stdout.splitlines() == ["/etc/x  c over b, a", "/same  b over a  (identical)"]


def test_layers_without_a_common_path_have_nothing_to_tell(strata, layers):
    assert strata("overlaps", "c", "blocks").ok().stdout == ""
    assert strata("overlaps", "a").ok().stdout == ""


def test_a_conflict_is_told_and_fails(strata, layers):
    done = strata("overlaps", "a", "blocks")
    assert done.returncode == 1
    assert done.stdout.startswith("conflict: /usr/share/dir: blocks ")
    assert done.stderr == ""
    for policy in ("replace", "skip"):
        assert "conflict: " in strata("overlaps", "--on-conflict", policy, "a", "blocks").ok().stdout


def test_json_has_indexes_of_layers(strata, layers):
    report = strata("overlaps", "--json", "a", "b:only=etc/**", "c").json()
    assert [one["name"] for one in report["layers"]] == ["a", "b:only=etc/**", "c"]
    assert report["layers"][1]["view"] == "only=etc/**"
    assert report["overlaps"] == [
        {"path": "/etc/x", "layers": [0, 1, 2], "winner": 2, "identical": False}
    ]
    assert report["conflicts"] == [] and report["on_conflict"] == "error"
    done = strata("overlaps", "--json", "--on-conflict", "skip", "a", "blocks").json()
    assert [(c["path"], c["lower"], c["upper"], c["winner"]) for c in done["conflicts"]] == [
        ("/usr/share/dir", 0, 1, 0)
    ]


def test_directories_and_files_of_layers_are_analysed_too(strata, layers, tmp_path):
    art = tmp_path / "art"
    (art / "etc").mkdir(parents=True)
    (art / "etc/x").write_text("a")
    done = strata("overlaps", "--layers-from", "-", f"dir:{art}", input="a\n").ok()
    assert done.stdout == f"/etc/x  dir:{art} over a\n"


def test_a_layer_that_counts_once_does_not_overlap_itself(strata, layers):
    assert strata("overlaps", "a", "a").ok().stdout == ""


def test_errors_are_those_of_any_command(strata, layers):
    strata("overlaps").fails(2, "no LAYER given")
    strata("overlaps", "nothing-like-it").fails(1, "no layer or ref named nothing-like-it")
    strata("overlaps", "--on-conflict", "maybe", "a").fails(2, "--on-conflict")
