"""What a hostile layer, source tree or command may not do to the host, and to the next run."""

import os
import stat

import pytest

from conftest import Symlink


def listing(directory):
    return sorted(path.name for path in directory.rglob("*"))


# --- mount points ------------------------------------------------------------------------------------


def test_a_link_in_a_layer_cannot_make_a_mount_point_on_the_host(strata, base, layer, tmp_path):
    victim, source = tmp_path / "victim", tmp_path / "source"
    victim.mkdir()
    source.mkdir()
    (source / "file").write_text("seen\n")
    layer("link", {"a": Symlink(str(victim))})
    options = ("--tmpfs", "/a/b", "--bind", f"{source}:/a/b/c")
    assert strata.sh("cat /a/b/c/file", "base", "link", options=options).ok().out == "seen"
    assert listing(victim) == []


@pytest.mark.parametrize("target", ["{victim}", "../victim", "/proc/self/cwd/../victim"])
def test_a_link_in_a_bound_directory_cannot_make_a_mount_point_on_the_host(strata, base, tmp_path, target):
    victim, source = tmp_path / "victim", tmp_path / "source"
    victim.mkdir()
    source.mkdir()
    (source / "x").symlink_to(target.format(victim=victim))
    options = ("--bind", f"{source}:/tmp/src", "--bind", f"{victim}:/tmp/src/x/new")
    strata.sh("true", options=options).fails(125, "/tmp/src/x/new")
    assert listing(victim) == []
