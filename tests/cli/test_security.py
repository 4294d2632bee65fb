"""What a hostile layer, source tree or command may not do to the host, and to the next run."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import Symlink


def listing(directory):
    return sorted(path.name for path in directory.rglob("*"))


# --- mount points ------------------------------------------------------------------------------------


def test_a_link_in_a_layer_cannot_make_a_mount_point_on_the_host(strata, base, layer, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("seen\n")
    # Not below /tmp, where the sandbox has a tmpfs of its own in the way.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as victim:
        layer("link", {"a": Symlink(victim)})
        options = ("--tmpfs", "/a/b", "--bind", f"{source}:/a/b/c")
        assert strata.sh("cat /a/b/c/file", "base", "link", options=options).ok().out == "seen"
        assert listing(Path(victim)) == []


@pytest.mark.parametrize("target", ["{victim}", "../victim", "/proc/self/cwd/../victim"])
def test_a_link_in_a_bound_directory_cannot_make_a_mount_point_on_the_host(strata, base, tmp_path, target):
    victim, source = tmp_path / "victim", tmp_path / "source"
    victim.mkdir()
    source.mkdir()
    (source / "x").symlink_to(target.format(victim=victim))
    options = ("--bind", f"{source}:/tmp/src", "--bind", f"{victim}:/tmp/src/x/new")
    strata.sh("true", options=options).fails(125, "/tmp/src/x/new")
    assert listing(victim) == []


def test_what_the_host_mounts_later_does_not_appear_in_a_read_only_bind(strata, base, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    # In a mount namespace of our own, where everybody may mount.
    command = strata.command(
        "run", "--bind", f"{shared}:/s:ro", "base", "--",
        "sh", "-c", "echo up; read go; grep ' /s' /proc/self/mountinfo | wc -l; echo x >/s/sub/new",
    )
    script = f"""
        mount -t tmpfs t {shared} && mount --make-shared {shared} && mkdir {shared}/sub || exit 9
        mkfifo {tmp_path}/go
        {shlex.join(command)} <{tmp_path}/go | {{
            exec 3>{tmp_path}/go
            read up; mount -t tmpfs t {shared}/sub || exit 8
            echo go >&3; cat
        }}
        ls {shared}/sub
    """
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-c", script],
        env=strata.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )
    assert done.stdout == "1\n", done.stderr


# --- /proc and /dev, where uid 0 of the sandbox is the host's ----------------------------------------


@pytest.mark.parametrize("options", [(), ("--nested-userns",)])
def test_the_modes_of_the_machines_files_in_proc_cannot_be_changed(strata, base, options):
    # They are the same in every procfs. Each gets the mode that it has.
    script = "cd /proc; for f in [a-z]*; do [ -h $f ] || { chmod $(stat -c %a $f) $f && echo $f; }; done"
    assert strata.sh(script, options=options).stdout == ""


@pytest.mark.parametrize("device", ["null", "zero", "full", "random", "urandom", "tty"])
def test_a_device_of_the_host_cannot_be_changed_but_used(strata, base, device):
    script = f"chmod 666 /dev/{device}; touch /dev/{device}; chown 0:0 /dev/{device}"
    refused = strata.sh(script).stderr.splitlines()
    assert len(refused) >= 2 and all("/dev/" + device in line for line in refused)
    if device != "tty":  # there is none
        strata.sh(f": <> /dev/{device}; : >> /dev/{device}").ok()


def test_nested_user_namespaces_can_still_be_set_up(strata, base):
    script = "unshare -r sh -c 'id -u'"
    assert strata.sh(script, options=("--nested-userns", "--uid", "7", "--gid", "7")).ok().out == "0"
