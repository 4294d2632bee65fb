# SPDX-License-Identifier: Apache-2.0
"""Plugins that stage as they like: at a path, some domains of an artifact, several times, and look at the result."""

import pytest

from small import write_small
from trees import LIST_ROOT, Link, write_element, write_import

LISTING = "  command: |\n    { " + LIST_ROOT.strip().replace("\n    ", "\n      ") + "\n    } > /listing\n"

SPOTS = {
    "at a path": "stages: [{path: /}, {path: /sysroot}]",
    "at a path in a link": "stages: [{path: /}, {path: /lib/below}]",
    "at a path over files": "stages: [{path: /}, {path: /usr}]",
    "at a path twice": "stages: [{path: /}, {path: /a/b}, {path: /a}]",
    "twice": "stages: [{path: /}, {path: /}]",
    "a domain": "stages: [{path: /, include: [runtime, devel], orphans: true}]",
    "without a domain": "stages: [{path: /, exclude: [devel, doc]}]",
    "without orphans at a path": "stages: [{path: /}, {path: /x, include: [devel], orphans: false}]",
    "one after the other": "stages: [{element: base.bst}, {element: more.bst}, {element: lib.bst}]",
    "one over itself": "stages: [{path: /}, {element: lib.bst}, {element: more.bst, path: /usr/share}]",
    "in the other order": "stages: [{element: more.bst}, {element: lib.bst, include: [devel]}, {element: base.bst}]",
}


def write(top):
    write_small(top, plugins=["spot"])
    write_import(
        top,
        "more",
        {"usr/lib/libx": "more\n", "lib/through": "t\n", "usr/share/doc": Link("/etc"), "etc/more": "m\n"},
        depends=["base"],
    )
    for name, stages in SPOTS.items():
        for kind, extra in (("run", LISTING), ("all", "  look: true\n  integrate: true\n" + LISTING)):
            text = f"config:\n  {stages}\n{extra}"
            write_element(top, f"{name.replace(' ', '-')}-{kind}", "spot", text, build=["lib", "more"])


@pytest.fixture(scope="module")
def built(make_pair, place):
    pair = make_pair(place)
    pair.write(write)
    names = [f"{name.replace(' ', '-')}-{kind}.bst" for name in SPOTS for kind in ("run", "all")]
    pair.said = pair.bst("--on-error", "continue", "build", *names)
    return pair


def test_the_artifacts_are_the_same(built):
    built.same_artifacts()
    assert len(built.plain.refs()) > 15


def test_what_the_plugin_was_told_and_saw_is_the_same(built):
    built.same_logs()
    assert any("overwritten ['usr/lib/libx'" in text for texts in built.strata.logs().values() for text in texts)
