"""What may stand for a LAYER: refs, ids, roots, views, directories, and a file of them."""

import pytest


@pytest.fixture
def layers(layer, base):
    layer("gcc:12", {"usr/bin/tool": b"12"})
    layer("other", {"usr/share/other": b"o"})


def test_layers_from_a_file_come_below_those_of_the_command_line(strata, layers, tmp_path):
    listed = tmp_path / "layers"
    listed.write_text("# what every build needs\n\nbase\n   gcc:12\n")
    done = strata("run", "--layers-from", listed, "other", "--", "cat", "/usr/bin/tool", "/usr/share/other").ok()
    assert done.stdout == "12o"


def test_layers_from_standard_input(strata, layers):
    done = strata("run", "--layers-from", "-", "--", "cat", "/usr/bin/tool", input="base\ngcc:12\n").ok()
    assert done.stdout == "12"


def test_an_error_in_the_file_names_its_line(strata, layers, tmp_path):
    listed = tmp_path / "layers"
    listed.write_text("base\n# next one\ngcc:13\n")
    failed = strata("run", "--layers-from", listed, "--", "true")
    failed.fails(125, f"{listed}:3: no layer or ref named gcc:13", "did you mean gcc:12?")
    strata("run", "--layers-from", tmp_path / "missing", "--", "true").fails(125, "--layers-from: open")


def test_without_any_layer_nothing_runs(strata, layers, tmp_path):
    empty = tmp_path / "layers"
    empty.write_text("# nothing\n")
    strata("run", "--layers-from", empty, "--", "true").fails(125, "there is no LAYER in it")
    strata("run", "--", "true").fails(125)


def test_a_root_key_stands_for_its_set(strata, layers):
    key = strata("compose", "base", "gcc:12").ok().out
    assert strata("run", key, "--", "cat", "/usr/bin/tool").ok().stdout == "12"
    assert strata("compose", key).ok().out == key
    assert strata("compose", key[:8]).ok().out == key
    done = strata("run", key, "other", "--", "cat", "/usr/bin/tool", "/usr/share/other").ok()
    assert done.stdout == "12o"
    strata("run", f"{key}:at=/x", "--", "true").fails(125, "only a layer has views")


def test_the_same_set_said_differently_is_the_same_root(strata, layers):
    key = strata("compose", "base", "gcc:12:only=usr/**:at=/opt").ok().out
    assert strata("compose", "base", "gcc:12:at=//opt/:only=/usr/**").ok().out == key
    assert strata("compose", "base", "gcc:12:at=/opt").ok().out != key
