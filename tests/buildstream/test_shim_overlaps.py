# SPDX-License-Identifier: Apache-2.0
"""Overlaps as BuildStream counts them, from what strata says of the layers."""

import os

import pytest
import strata
from shim import overlaps, session


@pytest.fixture
def layers(tmp_path):
    """Makes layers of {path: text, None for a directory, or a tuple with a link's target}."""

    def make(*trees, views=()):
        items = []
        for number, entries in enumerate(trees):
            top = tmp_path / str(number)
            top.mkdir()
            for path, entry in entries.items():
                (top / path).parent.mkdir(parents=True, exist_ok=True)
                if entry is None:
                    (top / path).mkdir()
                elif isinstance(entry, tuple):
                    os.symlink(entry[0], top / path)
                else:
                    (top / path).write_text(entry)
            items.append(session.Item(str(top), str(number), views[number] if views else None))
        return items

    return make


def analyse(items, *found, first=0):
    return overlaps._analyse([strata.Overlap(path, members, conflict) for path, members, conflict in found], items, first)


def test_element_by_element_and_sorted_in_each(layers):
    items = layers({"b": "", "c": "", "d": ""}, {"d": ""}, {"c": "", "b": ""})
    told = analyse(items, ("/b", (0, 2), False), ("/c", (0, 2), False), ("/d", (0, 1), False))
    assert told == {"overlaps": [("d", [0, 1]), ("b", [0, 2]), ("c", [0, 2])], "obstacle": None}


def test_all_that_have_a_file_are_told(layers):
    items = layers({"a": ""}, {"a": ""}, {"a": ""})
    assert analyse(items, ("/a", (0, 1, 2), False))["overlaps"] == [("a", [0, 1, 2])]


def test_what_was_staged_by_an_earlier_call_is_not(layers):
    items = layers({"a": ""}, {"a": ""}, {"a": ""})
    assert analyse(items, ("/a", (0, 1, 2), False), first=1)["overlaps"] == [("a", [1, 2])]
    assert analyse(items, ("/a", (0, 1, 2), False), first=2)["overlaps"] == []


def test_a_link_to_a_directory_is_not_overwritten(layers):
    items = layers({"usr/lib/x": "", "lib": ("usr/lib",)}, {"lib": ("usr/lib",)})
    assert analyse(items, ("/lib", (0, 1), False))["overlaps"] == []


def test_a_link_to_a_file_or_to_nothing_is(layers):
    items = layers({"x": "", "l": ("x",), "m": ("nowhere",)}, {"l": "", "m": ""})
    told = analyse(items, ("/l", (0, 1), False), ("/m", (0, 1), False))["overlaps"]
    assert told == [("l", [0, 1]), ("m", [0, 1])]


def test_a_file_behind_a_link_has_another_name(layers):
    items = layers({"usr/lib/x": "", "lib": ("usr/lib",)}, {"lib/x": ""}, {"usr/lib/x": ""})
    assert analyse(items, ("/usr/lib/x", (0, 1), False))["overlaps"] == []
    assert analyse(items, ("/usr/lib/x", (0, 1, 2), False))["overlaps"] == [("usr/lib/x", [0, 2])]


def test_several_behind_a_link_are_left_to_buildstream(layers):
    items = layers({"lib": ("usr/lib",), "usr/lib/y": ""}, {"lib/x": ""}, {"lib/x": ""})
    assert analyse(items, ("/usr/lib/x", (1, 2), False))["obstacle"] == "/usr/lib/x: several elements have it through a link"


def test_conflicts_are_left_to_buildstream(layers):
    items = layers({"a/x": ""}, {"a": ""})
    assert analyse(items, ("/a", (0, 1), True))["obstacle"] == "/a: a file and a directory of other elements meet"


def test_a_directory_over_a_file_is_left_to_buildstream(layers):
    items = layers({"a": ""}, {"a": None})
    assert analyse(items, ("/a", (0, 1), False))["obstacle"] == "/a: a directory where another element has a file"


def test_names_are_those_in_the_artifact_whatever_the_place(layers):
    items = layers({"a": ""}, {"a": ""}, views=("at=/system", "at=/system"))
    assert analyse(items, ("/system/a", (0, 1), False))["overlaps"] == [("a", [0, 1])]


def test_a_path_inside_a_view():
    item = session.Item("/x", "k", "at=/system")
    assert overlaps.inside_view(item, "system/etc/x") == "etc/x"
    assert overlaps.inside_view(item, "systems/x") is None
    assert overlaps.inside_view(session.Item("/x", "k", None), "etc/x") == "etc/x"
