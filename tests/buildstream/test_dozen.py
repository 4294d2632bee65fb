# SPDX-License-Identifier: Apache-2.0
"""A project with an element of each kind, built both ways: the same keys, the same content, the same messages."""

import pytest

from dozen import TARGETS, write_dozen
from sides import same, tree

ELEMENTS = [f"{name}.bst" for name in TARGETS]


@pytest.fixture(scope="module")
def built(make_pair, place):
    """Both sides built, and what each said."""
    pair = make_pair(place)
    pair.write(write_dozen)
    pair.said = pair.bst("build", *ELEMENTS, status=0)
    return pair


def test_the_artifacts_have_the_same_keys_and_content(built):
    built.same_artifacts()
    assert len({ref.split("/")[1] for ref in built.plain.refs()}) == 19


def test_the_messages_are_the_same(built):
    built.same_messages(*built.said)


def test_the_logs_of_all_jobs_are_the_same(built):
    built.same_logs()


def test_all_but_what_is_staged_onto_a_root_is_an_overlay(built):
    built.strata.logs()
    assert {why for _, why in built.strata.not_overlays} <= {"something was written in the sandbox before"}
    assert {element for element, _ in built.strata.not_overlays} <= {"devel.bst"}


def test_show_says_the_same(built):
    plain, strata = built.bst("show", "--format", "%{name} %{full-key} %{state} %{deps} %{public}", *ELEMENTS, status=0)
    same(plain.out, strata.out)
    assert "waiting" not in plain.out and "cached" in plain.out


def test_overlaps_are_warned_of(built):
    said = built.said[1].err
    assert "Non-whitelisted overlaps detected" in said
    assert "/etc/dir/x: overlap-b.bst is not permitted to overlap other elements" in said


def test_an_integration_command_sees_what_the_ones_before_it_did(built):
    ref = next(ref for ref in built.strata.refs() if ref.startswith("test/again/"))
    assert built.strata.content(ref, "files/order") == b"base integrated\ntools saw base integrated\ngreet saw tools saw base integrated\n"


@pytest.mark.parametrize(
    "element, options",
    [("odd", ["--deps", "none"]), ("all", []), ("hello", ["--no-integrate"]), ("image", ["--deps", "none"]), ("hello", ["--hardlinks"])],
)
def test_a_checkout_is_the_same(built, element, options, tmp_path):
    where = lambda side: tmp_path / side.name  # noqa: E731
    plain, strata = built.bst("checkout", *options, f"{element}.bst", where, status=0)
    same(*(tree(where(side)) for side in built.sides))
    assert len(tree(where(built.plain))) > 10
