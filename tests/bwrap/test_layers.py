# SPDX-License-Identifier: Apache-2.0
"""--layer: what bubblewrap does not have, layers of the store among the sources of an overlay."""

import pytest
from bwrap_call import HOST

pytestmark = pytest.mark.strata


@pytest.fixture
def in_store(bwrap, strata):
    """The environment of a call that finds the test's store."""
    return {"STRATA_STORE": strata.store}


def test_layers_are_sources_bottom_first(bwrap, layer, tree, in_store):
    layer("a", {"common": "a\n", "only_a": "a\n"})
    b = layer("b", {"common": "b\n", "only_b": "b\n"})
    options = ("--layer", "a", "--layer", b[:12], "--overlay-src", tree, "--ro-overlay", "/tmp/x")
    said = bwrap.sh("cd /tmp/x; cat common only_a only_b file", *options, env=in_store)
    assert said.ok().out.splitlines() == ["b", "a", "b", "content"]


def test_layer_is_enough_for_a_temporary_overlay_and_stays_as_it_is(bwrap, layer, strata, in_store):
    layer("a", {"file": "a\n"})
    said = bwrap.sh("echo new > /tmp/x/file; cat /tmp/x/file", "--layer", "a", "--tmp-overlay", "/tmp/x", env=in_store)
    assert said.ok().out == "new"
    assert bwrap.sh("cat /tmp/x/file", "--layer", "a", "--tmp-overlay", "/tmp/x", env=in_store).ok().out == "a"
    strata("fsck").ok()


def test_store_is_the_callers_whatever_environment_the_command_gets(bwrap, layer, tmp_path, in_store):
    layer("a", {"file": "a\n"})
    elsewhere = ("--setenv", "STRATA_STORE", tmp_path / "elsewhere")
    for options in (("--clearenv",), elsewhere, ("--unsetenv", "STRATA_STORE")):
        said = bwrap(*HOST, *options, "--layer", "a", "--tmp-overlay", "/tmp/x", "/bin/cat", "/tmp/x/file", env=in_store)
        assert said.ok().out == "a"
    assert not (tmp_path / "elsewhere").exists()


def test_layer_that_is_not_there_is_named(bwrap, layer, in_store):
    layer("gcc/12", {"file": "a\n"})
    said = bwrap(*HOST, "--layer", "gcc/13", "--tmp-overlay", "/tmp/x", "true", env=in_store)
    said.fails(1, "bwrap: --layer gcc/13: ")


def test_layer_that_runs_is_not_collected(bwrap, layer, strata, in_store):
    layer("a", {"file": "a\n"})
    process = bwrap.start(*HOST, "--layer", "a", "--tmp-overlay", "/tmp/x", "sh", "-c", "echo up; read line; cat /tmp/x/file",
                          env=in_store, stdin=-1)  # fmt: skip
    assert process.stdout.read(3) == b"up\n"
    strata("untag", "a").ok()
    strata("gc", "--all").ok()
    out, err = process.communicate(b"go\n", timeout=300)
    assert (process.returncode, out) == (0, b"a\n"), err
    strata("gc", "--all").ok()
    assert strata("list", "layers").ok().out == ""


def test_layer_must_be_followed_by_an_overlay(bwrap, layer, in_store):
    layer("a", {"file": "a\n"})
    said = bwrap(*HOST, "--layer", "a", "--chdir", "/", "true", env=in_store)
    said.fails(1, " must be followed by another ")


def test_no_link_of_the_root_leads_to_the_store(bwrap, layer, tmp_path, in_store):
    layer("a", {"file": "a\n"})
    for fd in range(3, 16):
        link = tmp_path / f"to{fd}"
        link.symlink_to(f"/proc/self/fd/{fd}")
        options = ("--layer", "a", "--tmp-overlay", "/tmp/x", "--chdir", link)
        said = bwrap.sh("pwd; ls -a", *options, env=in_store)
        said.fails(1, f"bwrap: Can't chdir to {link}: ")


@pytest.mark.parametrize("namespaces", ["--unshare-all", "--unshare-user"])
def test_no_process_of_the_sandbox_leads_to_the_store(bwrap, layer, in_store, namespaces):
    layer("a", {"file": "a\n"})
    look = "echo looked; for fd in /proc/[0-9]*/fd/*; do ls -d $fd/../../../layers; done 2> /tmp/errors; echo done"
    options = (namespaces, "--layer", "a", "--tmp-overlay", "/tmp/x", "--proc", "/proc")
    assert bwrap.sh(look, *options, env=in_store).ok().out == "looked\ndone"
