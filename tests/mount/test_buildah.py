# SPDX-License-Identifier: Apache-2.0
"""buildah with strata-mount as its mount program, as root and in the user namespace of an ordinary user."""

import json
import shlex
import subprocess

import pytest
from calling import Result
from containers import FIRST, Storage, layers, save, show, step
from mounter import ROOT

SECOND = "rm /gone /d/sub/b; rm -r /old; mkdir /old; echo z >/old/z; echo changed >/d/a; echo new >/new; ln -s new /link"
THIRD = "rm -r /old /keep; echo file >/keep; rm /link; mkdir /link; mv /new /d/new"
FOURTH = "echo again >/gone; mkdir /old; echo w >/old/w; chmod 700 /d"
BUILD = FIRST + step("first", SECOND, "second") + step("second", THIRD, "third") + step("third", FOURTH, "fourth")


@pytest.fixture
def buildah(mount, tmp_path):
    """buildah(storage, script) runs it where buildah may mount."""

    def run(storage, script):
        unshare = mount.namespaces() if ROOT else ("buildah", "unshare")
        done = subprocess.run(
            (*unshare, "sh", "-c", script), capture_output=True, text=True, timeout=300, cwd=tmp_path,
            env={**mount.env, **storage.environment}, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        return Result(done.args, done.returncode, done.stdout, done.stderr)

    return run


def trees(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_images_are_built_as_without_overlays(buildah, mount_binary, tmp_path):
    """vfs copies each layer: what is built with it is what was meant."""
    found = []
    for name, storage in (
        ("overlay", Storage(tmp_path / "storage1", mount_program=mount_binary)),
        ("vfs", Storage(tmp_path / "storage2", driver="vfs")),
    ):
        shown = "".join(show(image) for image in ("first", "second", "third", "fourth"))
        done = buildah(storage, BUILD + shown + save("fourth", tmp_path / name)).ok()
        found.append(trees(done.stdout))
    assert len(found[0]) == 4
    for ours, meant in zip(*found):
        assert ours == meant
    assert layers(tmp_path / "overlay") == layers(tmp_path / "vfs")
    # What was deleted is in the images.
    second = layers(tmp_path / "overlay")[1]
    assert {".wh.gone", "d/sub/.wh.b", "old/.wh.x", "old/.wh.y"} <= second.keys()


def test_every_mount_is_the_kernels(buildah, mount_binary, tmp_path):
    storage = Storage(tmp_path / "storage1", mount_program=mount_binary)
    script = FIRST + step("first", SECOND, "second") + step("second", "cat /proc/self/mountinfo", "third")
    told = buildah(storage, script).ok().stdout
    roots = [line for line in told.splitlines() if line.split()[4] == "/"]
    assert roots and all(" - overlay strata-mount " in line for line in roots)
    assert "fuse" not in "".join(roots)


def test_what_was_built_is_kept_for_the_next_process(buildah, mount_binary, tmp_path):
    """Containers that stay mounted, in one namespace after the other."""
    storage = Storage(tmp_path / "storage1", mount_program=mount_binary)
    buildah(storage, FIRST + "c=$(buildah from --name work first); m=$(buildah mount work); echo 1 >$m/n; rm $m/gone").ok()
    script = "m=$(buildah mount work); cat $m/n; ls $m; echo 2 >>$m/n; buildah umount work >/dev/null; m=$(buildah mount work); cat $m/n; "
    told = buildah(storage, script + "buildah rm work >/dev/null").ok().stdout
    assert told.startswith("1\n") and told.endswith("1\n2\n") and "gone" not in told


def test_many_layers(buildah, mount_binary, tmp_path):
    storage = Storage(tmp_path / "storage1", mount_program=mount_binary)
    script = FIRST
    for number in range(5):
        script += step("first" if number == 0 else f"i{number - 1}", f"echo {number} >/n{number}; rm -f /n{number - 2}", f"i{number}")
    tree = trees(buildah(storage, script + show("i4")).ok().stdout)[0]
    assert {name for name in tree if name.startswith("n")} == {"n3", "n4"}


def test_a_volume_above_a_directory_of_the_host(buildah, mount_binary, tmp_path):
    storage = Storage(tmp_path / "storage1", mount_program=mount_binary)
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/v").write_text("v\n")
    volume = shlex.quote(f"{tmp_path}/volume:/v:O")
    script = FIRST + f"c=$(buildah from first); buildah run -v {volume} $c -- sh -c 'cat /v/v; echo w >/v/w; ls /v'; buildah rm $c"
    assert buildah(storage, script).ok().stdout.startswith("v\nv\nw\n")
    assert [path.name for path in (tmp_path / "volume").iterdir()] == ["v"]


def test_containers_that_fuse_overlayfs_wrote_go_on(buildah, mount_binary, tmp_path):
    if not ROOT:  # who may not open /dev/fuse has no such containers
        return
    storage = Storage(tmp_path / "storage1", mount_program="/usr/bin/fuse-overlayfs")
    change = "m=$(buildah mount work); rm $m/gone $m/d/a; mkdir $m/n; echo 1 >$m/n/x; mv $m/old $m/n/old; buildah umount work >/dev/null"
    look = "m=$(buildah mount work); $SHOW $m --no-times FLAGS; echo; buildah umount work >/dev/null"
    first = buildah(storage, FIRST + f"buildah from --name work first; {change}; " + look.replace("FLAGS", "--devices")).ok().stdout
    told = (storage.place / "storage.conf").read_text().replace("/usr/bin/fuse-overlayfs", str(mount_binary))
    (storage.place / "storage.conf").write_text(told)
    assert trees(buildah(storage, look.replace("FLAGS", "")).ok().stdout) == trees(first)
