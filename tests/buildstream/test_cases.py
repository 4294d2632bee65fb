# SPDX-License-Identifier: Apache-2.0
"""Artifacts that meet in one root: links, directories, files in each other's place, overlaps, views."""

import os
import re

import pytest

from cases import CASES, random_case
from sides import same
from trees import Exec, Link, busybox_root, write_element, write_import, write_listing, write_project

RANDOM = int(os.environ.get("STRATA_RANDOM_CASES", "6"))  # by hand: some hundreds


def slug(name):
    return re.sub(r"\W+", "-", name)


def write_case(top, name, layers):
    below = []
    for number, entries in enumerate(layers):
        write_import(top, f"cases/{name}-{number}", entries, depends=["base", *below])
        below = [f"cases/{name}-{number}"]
    write_listing(top, f"cases/root-of-{name}", build=below)


def write_cases(top):
    write_project(top, plugins=["spot"])
    write_import(top, "base", busybox_root())
    for name, layers in CASES.items():
        write_case(top, slug(name), layers)
    for seed in range(RANDOM):
        write_case(top, f"random-{seed}", random_case(seed))


def results(side, said):
    """Of each case: its artifact's listing, or how it failed."""
    found = {}
    for ref in side.refs():
        project, element, key = ref.split("/")
        if element.startswith("cases-root-of-"):
            found[element] = side.artifact(ref), side.content(ref, "files/root")
    for element, lines in said.messages().items():
        if "cases/root-of-" in element and any(line.startswith("FAILURE") for line in lines):
            found[element] = lines
    return found


@pytest.fixture(scope="module")
def built(make_pair, place):
    pair = make_pair(place)
    pair.write(write_cases)
    names = [f"cases/root-of-{slug(name)}.bst" for name in CASES] + [f"cases/root-of-random-{seed}.bst" for seed in range(RANDOM)]
    pair.said = pair.bst("--on-error", "continue", "build", *names)
    pair.results = [results(side, said) for side, said in zip(pair.sides, pair.said)]
    return pair


def test_every_case_ends_in_an_artifact_or_an_error(built):
    assert len(built.results[0]) == len(CASES) + RANDOM
    failed = [name for name, found in built.results[0].items() if isinstance(found, list)]
    assert 5 <= len(failed) <= len(CASES), failed


@pytest.mark.parametrize("name", [*map(slug, CASES), *(f"random-{seed}" for seed in range(RANDOM))])
def test_the_root_is_the_same(built, name):
    def found(results):
        return next(value for key, value in results.items() if key.endswith(f"root-of-{name}") or f"root-of-{name}.bst" in key)

    same(*map(found, built.results), name)


def test_the_messages_are_the_same(built):
    built.same_messages(*built.said)


def test_the_artifacts_and_logs_are_the_same(built):
    built.same_artifacts()
    built.same_logs()
