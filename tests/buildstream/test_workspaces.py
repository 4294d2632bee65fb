# SPDX-License-Identifier: Apache-2.0
"""Workspaces: opened, edited, built incrementally, reset and closed."""

import os
import time

import pytest

from sides import same, tree
from small import INTEGRATE, write_small
from trees import write_import


@pytest.fixture
def opened(pair):
    pair.write(write_small)
    pair.bst("build", "app.bst", status=0)
    for side in pair.sides:
        side.hide_keys = True
    pair.bst("workspace", "open", "app.bst", lambda side: side.home / "work", status=0)
    return pair


def edit(pair, name, text):
    # A later second than that of what was compiled from it: the shell's -nt knows no fractions.
    later = time.time() + 2
    for side in pair.sides:
        path = side.home / "work" / name
        path.write_text(text)
        os.utime(path, (later, later))


def build(pair, *words):
    said = pair.bst("build", *words, "app.bst", status=0)
    pair.same_messages(*said)
    for element in ("base", "lib", "app"):
        same(*(side.artifact(side.newest(element), "files") for side in pair.sides))
    pair.same_logs()
    return said[1].err


def compiled(said):
    return sorted({line.split()[-1] for line in said.splitlines() if line.startswith("compiling")})


def last_log(pair):
    logs = {side: max((side.cache / "logs/test/app").glob("*-build.*.log"), key=lambda path: path.stat().st_mtime_ns) for side in pair.sides}
    plain, strata = (compiled(logs[side].read_text()) for side in pair.sides)
    assert plain == strata
    return strata


def test_a_second_build_compiles_what_was_edited(opened):
    build(opened)
    assert last_log(opened) == ["a.c", "b.c"]
    edit(opened, "a.c", "edited\n")
    build(opened)
    assert last_log(opened) == ["a.c"]
    # What it made lies in the workspace, as the caller's.
    same(*(sorted(path.name for path in (side.home / "work").iterdir()) for side in opened.sides))
    assert all((side.home / "work/a.c.o").stat().st_uid == os.geteuid() for side in opened.sides)
    opened.bst("checkout", "--deps", "none", "app.bst", lambda side: side.home / "out", status=0)
    same(*(tree(side.home / "out") for side in opened.sides))
    assert (opened.strata.home / "out/usr/bin/app").read_text().startswith("#x\nedited\n")


def test_a_changed_dependency_is_seen(opened):
    build(opened)
    for side in opened.sides:
        write_import(side.project, "lib", {"usr/include/x.h": "#changed\n", "usr/lib/liby": "y\n"}, INTEGRATE, depends=["base"])
    edit(opened, "b.c", "edited\n")
    build(opened)
    assert last_log(opened) == ["b.c"]
    assert "#changed\nedited" in (opened.strata.home / "work/b.c.o").read_text()


def test_a_shell_is_in_the_workspace(opened):
    ended = opened.bst("shell", "--build", "app.bst", "--", "sh", "-c", "ls; cat a.c; echo new > new; mkdir d", status=0)
    opened.same_messages(*ended)
    same(*(tree(side.home / "work") for side in opened.sides))
    assert (opened.strata.home / "work/new").read_text() == "new\n"


def test_a_failed_build_keeps_what_it_made_and_can_be_entered(opened):
    edit(opened, "c.c", "c\n")
    for side in opened.sides:
        path = side.project / "elements/app.bst"
        path.write_text(path.read_text().replace("  install-commands:\n", "  install-commands:\n  - exit 3\n"))
    said = opened.bst("build", "app.bst")
    opened.same_messages(*said)
    assert said[1].status != 0 and (opened.strata.home / "work/c.c.o").exists()
    same(*(tree(side.home / "work") for side in opened.sides))
    kept = {side: next((side.cache / "build").glob("app-*")) for side in opened.sides}
    entered = opened.bst("shell", "--build", "--sysroot", lambda side: kept[side], "app.bst", "--", "sh", "-c", "ls; cat c.c.o", status=0)
    same(*(side.out for side in entered))


def test_reset_and_close(opened):
    build(opened)
    edit(opened, "a.c", "edited\n")
    opened.same_messages(*opened.bst("workspace", "list", status=0))
    opened.bst("workspace", "reset", "app.bst", status=0)
    same(*(tree(side.home / "work") for side in opened.sides))
    build(opened)
    opened.bst("workspace", "close", "--remove-dir", "app.bst", status=0)
    assert not (opened.strata.home / "work").exists()
    build(opened)


def test_a_workspace_of_an_import(opened):
    opened.bst("workspace", "open", "lib.bst", lambda side: side.home / "libwork", status=0)
    for side in opened.sides:
        (side.home / "libwork/usr/lib/libz").write_text("z\n")
    build(opened)
    opened.bst("workspace", "close", "lib.bst", status=0)
    build(opened)
