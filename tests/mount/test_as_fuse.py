# SPDX-License-Identifier: Apache-2.0
"""The same command line, given to fuse-overlayfs and to strata-mount: the same tree."""

import shutil

import pytest
from directories import Dir, Opaque, Whiteout, make_directory

FUSE = "/usr/bin/fuse-overlayfs"

LAYERS = {
    "two directories merge": ({"d/a": "top", "d/c": "c"}, {"d/a": "low", "d/b": "b", "e": "e"}),
    "a file .wh.NAME hides NAME below": ({".wh.gone": "", "d/.wh.b": ""}, {"gone": "x", "d/b": "b", "d/c": "c"}),
    "a file .wh.NAME hides a directory": ({".wh.d": ""}, {"d/b": "b", "d/e/f": "f", "x": "x"}),
    "a file .wh.NAME hides NAME beside it": ({".wh.a": "", "a": "top", "b": "b"}, {"a": "low"}),
    "marks inside of what is hidden": ({".wh.d": "", "d/.wh.x": "", "d/y": "y"}, {"d/x": "x", "d/z": "z"}),
    "a file .wh..wh..opq makes opaque": ({"d/.wh..wh..opq": "", "d/n": "n"}, {"d/a": "a", "d/s/b": "b", "e": "e"}),
    "opaque inside of opaque": (
        {"d/.wh..wh..opq": "", "d/s/.wh..wh..opq": "", "d/s/n": "n"},
        {"d/a": "a", "d/s/b": "b"},
    ),
    "the attribute of fuse-overlayfs": ({"d": Opaque("user.fuseoverlayfs.opaque"), "d/n": "n"}, {"d/a": "a"}),
    "the attribute of a user's overlay": ({"d": Opaque("user.overlay.opaque"), "d/n": "n"}, {"d/a": "a"}),
    "the attribute of the machine's overlay": ({"d": Opaque("trusted.overlay.opaque"), "d/n": "n"}, {"d/a": "a"}),
    "a whole layer that is opaque": ({".wh..wh..opq": "", "n": "n"}, {"a": "a", "d/b": "b"}),
    "a whiteout of the kernel": ({"gone": Whiteout(), "d/b": Whiteout()}, {"gone": "x", "d/b": "b", "d/c": "c"}),
    "three, with marks in the middle": (
        {"d/top": "1"},
        {"d/.wh.a": "", "s/.wh..wh..opq": "", "s/m": "m"},
        {"d/a": "a", "d/b": "b", "s/low": "l"},
    ),
    "what was hidden comes back above": ({"d/a": "again"}, {"d/.wh.a": "", ".wh.e": ""}, {"d/a": "a", "e": "e"}),
    "a file above a directory": ({"d": "file"}, {"d/a": "a"}),
    "a directory above a file": ({"d/a": "a"}, {"d": "file"}),
    "directories with marks keep what they are": (
        {"d": Dir(0o1777, 1000), "d/.wh.a": "", "d/s": Dir(0o700, 2000), "d/s/.wh.b": ""},
        {"d": Dir(0o755), "d/a": "a", "d/s/b": "b"},
    ),
    "and their attributes": ({"d": Dir(0o755, xattrs={"user.told": b"yes"}), "d/.wh.a": ""}, {"d/a": "a"}),
}


def lay(tmp_path, layers):
    for number, entries in enumerate(layers):
        make_directory(tmp_path / f"l{number}", entries)
    for name in ("upper", "work", "at"):
        (tmp_path / name).mkdir(exist_ok=True)
    return "lowerdir=" + ":".join(f"l{number}" for number in range(len(layers)))


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS.keys())
@pytest.mark.parametrize("writable", (True, False), ids=("writable", "read-only"))
def test_layers_show_the_same_tree(mount, tmp_path, layers, writable):
    options = lay(tmp_path, layers)
    if writable:
        options += ",upperdir=upper,workdir=work"
    # Kept: a first look at the layers must not change them.
    assert mount.tree(options) == mount.tree(options, FUSE) == mount.tree(options)


SCRIPTS = {
    "files": "echo new >new; echo more >>d/a; rm d/b; ln d/c hard; mv d/c moved; chmod 600 e; ln -s d link",
    "directories": "mkdir n n/m; mv n/m n/o; rmdir d/s/t; touch d/s/x; cp -a d copy",
    "attributes": "touch t; setfattr -n user.mine -v 1 t 2>&1 || true; chmod 4755 t; chown 7:8 d",
}
BASE = ({"d/a": "a", "d/b": "b", "d/c": "c", "d/s/t": None, "e": "e"}, {"d/low": "l", "z": "z"})


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_the_same_work_leaves_the_same_tree(mount, tmp_path, script):
    options = lay(tmp_path, BASE) + ",upperdir=upper,workdir=work"
    found = []
    for program in (None, FUSE):
        found.append(mount.tree(options, program, script, no_times=True))
        # And the other one, and the same again, find it in the upper directory.
        found += [mount.tree(options, other, no_times=True) for other in (FUSE, None)]
        for name in ("upper", "work"):
            shutil.rmtree(tmp_path / name)
            (tmp_path / name).mkdir()
    assert all(tree == found[0] for tree in found)


@pytest.mark.parametrize(
    "upper",
    (
        {".wh.e": "", "d/.wh.a": ""},
        {"d/.wh..wh..opq": "", "d/n": "n"},
        {"d": Opaque("user.fuseoverlayfs.opaque"), "d/n": "n"},
        {".wh..wh..opq": "", "n": "n"},
        {"e": Whiteout(), "d": Opaque("user.overlay.opaque"), "d/n": "n"},
    ),
    ids=("files", "opaque file", "opaque attribute", "all of it", "a user's overlay"),
)
def test_an_upper_that_fuse_overlayfs_wrote_means_the_same(mount, tmp_path, upper):
    make_directory(tmp_path / "upper", upper)
    options = lay(tmp_path, BASE) + ",upperdir=upper,workdir=work"
    before = mount.tree(options, FUSE)
    assert mount.tree(options) == before
    # Now it is in the kernel's words, which both know.
    assert mount.tree(options) == before
    assert mount.tree(options, FUSE) == before
    assert not [path for path in (tmp_path / "upper").rglob(".wh.*") if path.is_file() and path.parent.name != "at"]


WRONG = {
    "no lowerdir": "-o upperdir=upper,workdir=work at",
    "a lowerdir that is not there": "-o lowerdir=/nonexistent at",
    "a lowerdir that is a file": "-o lowerdir=./file at",
    "an upperdir that is not there": "-o lowerdir=./l0,upperdir=nowhere,workdir=work at",
    "no workdir": "-o lowerdir=./l0,upperdir=upper at",
    "a workdir that is not there": "-o lowerdir=./l0,upperdir=upper,workdir=nowhere at",
    "no target": "-o lowerdir=./l0",
    "a target that is not there": "-o lowerdir=./l0 nowhere",
    "redirect_dir": "-o lowerdir=./l0,redirect_dir=on at",
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG.keys())
def test_what_fails_there_fails_here(mount, tmp_path, arguments):
    lay(tmp_path, ({"a": "a"},))
    (tmp_path / "file").write_text("")
    for program in (FUSE, None):
        done = mount(f"mnt {arguments}", program)
        done.fails(1)
        assert done.stderr


FINE = ("ro", "nosuid", "noexec", "nodev", "dev", "suid", "rw", "noatime", "volatile", "fsync=0", "fsync=1", "noacl",
        "timeout=0", "threaded=1", "writeback=0", "fast_ino=1", "static_nlink", "redirect_dir=off", "squash_to_root",
        "xattr_permissions=0", "noxattrs=0", "unknown", "unknown=1", "x-mine", "allow_other", "default_permissions",
        "nosuid,nodev,noexec", "squash_to_uid=12", "squash_to_gid=12", "uidmapping=0:5:10,gidmapping=0:6:10")  # fmt: skip


@pytest.mark.parametrize("option", FINE)
def test_an_option_does_the_same(mount, tmp_path, option):
    options = lay(tmp_path, BASE) + f",upperdir=upper,workdir=work,{option}"
    assert mount.flags(options) == mount.flags(options, FUSE)
    assert mount.tree(options) == mount.tree(options, FUSE)


def test_owners_in_attributes_are_read_by_fuse_overlayfs(mount, tmp_path):
    options = lay(tmp_path, ({"a": "a"},))
    import os

    os.setxattr(tmp_path / "l0", "user.fuseoverlayfs.override_stat", b"0:0:0755")
    os.setxattr(tmp_path / "l0/a", "user.fuseoverlayfs.override_stat", b"12:13:0600")
    assert mount.tree(options) == mount.tree(options, FUSE)
    done = mount(f"mnt -o {options} at; tail -n 1 /proc/self/mountinfo; umount at").ok()
    assert "fuse.fuse-overlayfs" in done.stdout and "note: " in done.stderr
