# SPDX-License-Identifier: Apache-2.0
"""podman with strata-mount as its mount program. As root: a container needs control groups that can be written."""

import glob
import json
import os
import shlex
import subprocess

import pytest
from calling import Result
from containers import FIRST, Storage

PODMAN = 'podman() { command podman --cgroup-manager cgroupfs --runtime RUNTIME "$@"; }\n'
START = "--cgroup-parent strata-mount-test --network none --pull never --log-driver none"


# Containers that stay until they are removed: after one in the foreground podman may wait 20 s for its conmon to be
# buried, which here is nobody's work.
END = "podman rm -f -t 0 c >/dev/null"


def begin(*options):
    return f"podman run -d --name c {START} {shlex.join(options)} first sh -c 'while :; do sleep 0.1; done' >/dev/null"


def run_script(mount, storage, script):
    # The shell is pid 1 and ends what is left.
    done = subprocess.run(
        (*mount.namespaces(), "--pid", "--fork", "--mount-proc", "sh", "-c", script + "\nexit $?"), capture_output=True, text=True, timeout=300,
        env={**mount.env, **storage.environment}, cwd=storage.place, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return Result(done.args, done.returncode, done.stdout, done.stderr)


@pytest.fixture
def podman(mount, mount_binary, tmp_path):
    """podman(script), with an image `first`, by whatever runtime starts containers here."""
    storage = Storage(tmp_path / "storage", mount_program=mount_binary)
    run_script(mount, storage, FIRST).ok()
    said = []
    for runtime in ("crun", "runc"):
        functions = PODMAN.replace("RUNTIME", runtime)
        probe = run_script(mount, storage, f"{functions} {begin()} && podman exec c true; s=$?; {END}; exit $s")
        if probe.returncode == 0:
            break
        said.append(f"{runtime}: {probe.stderr.strip().splitlines()[-1]}")
    else:
        pytest.skip(f"podman starts no container here: {said}; install runc, and let root write control groups")
    yield lambda script: run_script(mount, storage, functions + script)
    for top in glob.glob("/sys/fs/cgroup/*/strata-mount-test") + glob.glob("/sys/fs/cgroup/strata-mount-test"):
        for path, _, _ in os.walk(top, topdown=False):
            os.rmdir(path)


def test_a_container_from_its_start_to_an_image(podman, tmp_path):
    work = "echo k >/new; rm /gone; mkdir /dd; echo changed >/d/a; touch /ready; while :; do sleep 0.1; done"
    script = f"""podman run -d --name c {START} first sh -c {shlex.quote(work)} >/dev/null
    until podman exec c test -e /ready; do sleep 0.1; done
    podman diff c | sort | tr '\\n' ';'; echo
    podman exec c cat /new; grep -c /merged /proc/self/mountinfo
    podman commit -q c after >/dev/null; podman export c | tar -t | sort | tr '\\n' ' '; echo
    podman stop -t 0 c >/dev/null; podman start c >/dev/null; podman exec c cat /new; podman rm -f -t 0 c >/dev/null
    m=$(podman image mount after); cat $m/d/a; ls $m; podman image unmount after >/dev/null; grep -c /merged /proc/self/mountinfo"""
    lines = podman(script).stdout.splitlines()
    changed = set(lines[0].split(";"))
    assert {"A /new", "A /dd", "D /gone", "C /d/a"} <= changed and "D /d/sub/b" not in changed
    # Comparing the running container with its image has left its own mount alone.
    assert lines[1:3] == ["k", "1"]
    exported = lines[3].split()
    assert {"new", "dd/", "d/a", "old/x"} <= set(exported) and "gone" not in exported
    assert not [name for name in exported if ".wh." in name]
    assert lines[4:6] == ["k", "changed"] and "new" in lines and "gone" not in lines[5:]
    assert lines[-1] == "0"


def test_a_volume_above_a_directory_of_the_host(podman, tmp_path):
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/v").write_text("v\n")
    script = f"{begin('-v', f'{tmp_path}/volume:/v:O')}; podman exec c sh -c 'cat /v/v; echo w >/v/w; ls /v; grep \" /v \" /proc/self/mountinfo'"
    told = podman(f"{script}; {END}").ok().stdout
    assert told.startswith("v\nv\nw\n") and "- overlay strata-mount" in told
    assert [path.name for path in (tmp_path / "volume").iterdir()] == ["v"]


def test_other_owners_are_left_to_fuse_overlayfs(podman):
    ids = ("--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000")
    told = podman(f"{begin(*ids)}; podman exec c grep ' / ' /proc/self/mountinfo; {END}").ok().stdout
    assert "fuse-overlayfs" in told


def test_podman_knows_what_it_has(podman, mount_binary):
    told = json.loads(podman("podman info --format json").ok().stdout)["store"]
    assert told["graphDriverName"] == "overlay"
    assert told["graphStatus"]["Supports d_type"] == "true"
    # That is so with any mount program: containers/storage then compares trees.
    assert told["graphStatus"]["Native Overlay Diff"] == "false"
    program = told["graphOptions"]["overlay.mount_program"]
    assert program["Executable"] == str(mount_binary) and program["Version"].startswith("strata-mount: version ")


def test_images_are_mounted_read_only(podman):
    script = "m=$(podman image mount first); ls $m/d; touch $m/x; podman image unmount first >/dev/null; grep -c /merged /proc/self/mountinfo"
    done = podman(script)
    assert done.stdout == "a\nsub\n0\n" and "Read-only file system" in done.stderr
