# SPDX-License-Identifier: Apache-2.0
"""Builds that fail: the same error, the same exit status, and the next build works."""

import pytest

from dozen import commands, integration
from sides import same
from small import write_small
from trees import write_element, write_import, write_project


def write(top):
    write_small(top)
    write_element(top, "command", "manual", commands("install-commands", "echo first", "echo second; exit 3"), build=["lib"])
    write_element(top, "killed", "manual", commands("install-commands", "kill -9 $$"), build=["lib"])
    write_import(top, "bad", {"x": "x\n"}, integration("echo trying > /etc/tried", "cat /etc/tried; exit 4"), depends=["lib"])
    write_element(top, "integration", "manual", build=["bad"])
    write_element(top, "integration-of-compose", "compose", build=["bad"])
    write_element(top, "integration-of-script", "script", "config: {commands: ['true']}\n", build=["bad"])
    write_import(top, "nothing", {"x": "x\n"})
    write_element(top, "no-shell", "manual", commands("install-commands", "true"), build=["nothing"])
    write_import(top, "broken-shell", {"bin/sh": "not a program"})
    write_element(top, "not-executable", "manual", commands("install-commands", "true"), build=["broken-shell"])
    write_element(top, "read-only", "manual", commands("build-commands", "echo x > /etc/x"), build=["lib"])
    write_element(top, "into-lib", "manual", commands("build-commands", "rm /usr/lib/libx"), build=["lib"])
    write_element(top, "fifo", "manual", commands("install-commands", "mkfifo %{install-root}/fifo"), build=["lib"])
    write_element(top, "unreadable", "manual", commands("install-commands", "echo x > %{install-root}/x; chmod 0 %{install-root}/x"), build=["lib"])
    write_element(top, "script", "script", commands("commands", "rm /etc/cache; ls /etc; echo x > /etc/y", "cat /etc/y; exit 5"), build=["lib"])
    write_element(top, "not-there", "spot", "config: {stages: [{path: /}], collect: /nowhere}\n", build=["lib"])
    write_project(top, plugins=["spot"])


NAMES = (
    *("command", "killed", "integration", "integration-of-compose", "integration-of-script", "no-shell", "not-executable", "read-only"),
    *("into-lib", "fifo", "unreadable", "script", "not-there"),
)


@pytest.fixture(scope="module")
def failed(make_pair, place):
    pair = make_pair(place)
    pair.write(write)
    pair.said = pair.bst("--on-error", "continue", "build", *(f"{name}.bst" for name in NAMES))
    return pair


@pytest.mark.parametrize("name", NAMES)
def test_it_fails_alike(failed, name):
    def of(said):
        return [lines for element, lines in said.messages().items() if f":{name}.bst" in element]

    same(of(failed.said[0]), of(failed.said[1]))
    assert of(failed.said[1]), "nothing is said of it"


def test_the_summary_and_the_logs_are_the_same(failed):
    assert failed.said[1].status != 0
    failed.same_messages(*failed.said)
    failed.same_logs()


def test_what_failed_lies_where_it_was_said_to(failed):
    def kept(side):
        found = {}
        for path in (side.cache / "build").iterdir():
            names = {str(entry.relative_to(path)) for entry in (path / "root").glob("*")}
            names |= {str(entry.relative_to(path)) for entry in (path / "root/etc").glob("*")}
            found[path.name.rpartition("-")[0]] = sorted(names)
        return found

    same(*(kept(side) for side in failed.sides))


def test_what_is_mended_builds(failed):
    for side in failed.sides:
        path = side.project / "elements/bad.bst"
        path.write_text(path.read_text().replace("exit 4", "true"))
    said = failed.bst("build", "integration.bst", "integration-of-compose.bst", "integration-of-script.bst", status=0)
    failed.same_messages(*said)
    failed.same_artifacts()


@pytest.mark.parametrize("how", ["quit", "terminate", "continue"])
def test_on_error(failed, how):
    said = failed.bst("--on-error", how, "--builders", "1", "build", "command.bst", "app.bst")
    failed.same_messages(*said)


def test_fatal_overlaps(failed):
    for side in failed.sides:
        write_import(side.project, "over", {"usr/lib/libx": "over\n"}, depends=["lib"])
        write_element(side.project, "overlapped", "manual", build=["over"])
        write_project(side.project, "fatal-warnings: [overlaps]", plugins=["spot"])
    said = failed.bst("build", "overlapped.bst")
    failed.same_messages(*said)
    assert said[1].status != 0 and "overlaps" in said[1].err
    for side in failed.sides:
        write_import(side.project, "over", {}, "public: {bst: {overlap-whitelist: [/usr/lib/libx]}}\n", depends=["lib"])
    failed.same_messages(*failed.bst("build", "overlapped.bst", status=0))
