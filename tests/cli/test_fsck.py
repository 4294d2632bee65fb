"""strata fsck: every kind of damage is found and named; --repair drops what cannot be trusted."""

import json
import os
import shutil

import pytest
import store_check
from archives import File, Hardlink, Symlink
from test_new_boot import is_marked, restart

ENTRIES = {
    "d": None,
    "d/f": File("content\n", mode=0o640, xattrs={"user.note": "kept"}),
    "d/g": "other\n",
    "d/h": Hardlink("d/g"),
    "d/l": Symlink("f"),
    "none": File("", mode=0),
}


@pytest.fixture
def tree(layer, store):
    """The tree of a layer `l` with some of everything; nobody else uses it."""
    return store / "layers" / layer("l", ENTRIES) / "tree"


def keep_times(path, change):
    """Damages a file or directory as a disk does: without a trace in the times."""
    statuses = [(p, p.lstat()) for p in (path, path.parent)]
    change(path)
    for place, status in statuses:
        if os.path.lexists(place):
            os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def replace(path, make):
    path.unlink()
    make()


DAMAGES = {
    "content": ("d/f", lambda p: p.write_text("cOntent\n"), "d/f has other content"),
    "size": ("d/f", lambda p: p.write_text(""), "d/f has 0 bytes, not 8"),
    "mode": ("d/f", lambda p: p.chmod(0o644), "d/f has mode 0644, not 0640"),
    "mode of a directory": ("d", lambda p: p.chmod(0o700), "d has mode 0700, not 0755"),
    "attribute": ("d/f", lambda p: os.setxattr(p, "user.note", b"x"), "d/f has lost or changed its attribute user.note"),
    "new attribute": ("d", lambda p: os.setxattr(p, "user.x", b"x"), "d has an attribute that is not in the manifest"),
    "missing": ("d/f", lambda p: p.unlink(), "d/f is missing"),
    "type": ("d/f", lambda p: replace(p, p.mkdir), "d/f is a directory, not a file"),
    "target": ("d/l", lambda p: replace(p, lambda: p.symlink_to("g")), "d/l leads to g, not f"),
    "hardlink": ("d/h", lambda p: replace(p, lambda: shutil.copy2(p.parent / "g", p)), "d/h is no hard link to d/g"),
    "extra": ("d/extra", lambda p: p.write_text(""), "d/extra is not in the manifest"),
    "a link for a directory": ("d", lambda p: (shutil.rmtree(p), p.symlink_to("/etc")), "d is a symlink, not a directory"),
}


def test_a_clean_store_is_clean(strata, base, tree, store):
    strata("run", "base", "l", "--", "true").ok()
    done = strata("fsck").ok()
    assert done.out.startswith("checked 2 layers") and done.out.endswith(": clean")
    report = strata("fsck", "--json").json()
    assert report["clean"] and report["damaged"] == [] and report["layers"] == 2 and report["refs"] == 2
    # What was just read and written out need not be verified after a restart.
    assert is_marked(store / "layers" / tree.parent.name)


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_named(strata, tree, kind):
    path, change, text = DAMAGES[kind]
    if kind in ("extra", "a link for a directory"):
        change(tree / path)
    else:
        keep_times(tree / path, change)
    done = strata("fsck")
    done.fails(1)
    id = tree.parent.name
    assert f"layer {id[:12]}: {text}\n" in done.stdout
    # A disk that loses one thing is told by one line.
    if kind not in ("extra", "a link for a directory"):
        assert done.stdout.count(f"layer {id[:12]}: ") == 1, done.stdout
    assert "1 damaged; `strata fsck --repair`" in done.stdout
    [damaged] = json.loads(strata("fsck", "--json", "l").stdout)["damaged"]
    assert (damaged["kind"], damaged["name"], damaged["outcome"]) == ("layer", id, "reported")
    assert text in [f"{d['path']} {d['problem']}" for d in damaged["damages"]]


def test_mtime_is_checked(strata, tree):
    os.utime(tree / "d/f", (1, 1))
    done = strata("fsck", "l").fails(1)
    assert "d/f has mtime 1.000000000, not 1600000000.000000000" in done.stdout


def test_a_damaged_manifest_is_named(strata, tree):
    manifest = tree.parent / "manifest"
    data = bytearray(manifest.read_bytes())
    data[200] ^= 1
    manifest.write_bytes(data)
    assert "manifest has the id " in strata("fsck").fails(1).stdout
    manifest.write_bytes(data[:50])
    assert "manifest is damaged: too short for a manifest" in strata("fsck").fails(1).stdout


def test_repair_puts_a_layer_aside_and_takes_its_names(strata, tree, store, base, tmp_path):
    (tree / "d/f").write_text("")
    id = tree.parent.name
    done = strata("fsck", "--repair").fails(1)
    assert f"layer {id[:12]}: moved to damaged/{id}\n" in done.stdout
    assert f"ref l: leads to layers/{id}, which is not there\nref l: removed\n" in done.stdout
    assert "2 damaged, all repaired" in done.stdout
    assert (store / "damaged" / id / "tree/d/g").is_file()
    assert "clean\n1 layer in damaged/" in strata("fsck").ok().stdout
    strata("run", "l", "--", "true").fails(125, "no layer or ref named l")
    assert store_check.problems(store) == []
    # The same content comes back by another import.
    assert strata("import", "--name", "l", tmp_path / "l.layer.tar").ok().out == id
    assert strata("fsck").ok().out.endswith(": clean")


def test_what_a_stage_uses_is_left_alone(strata, base, store):
    running = strata.start("run", "base", "--", "sh", "-c", "echo; read x", stdin=-1)
    running.stdout.readline()
    (store / "layers" / base / "tree/etc/passwd").write_text("")
    done = strata("fsck", "--repair").fails(1)
    assert "left as it is: a running stage uses it" in done.stdout
    assert "1 damaged, 1 of them left as they are" in done.stdout
    running.communicate(b"\n")
    assert (store / "layers" / base).is_dir()
    assert "moved to damaged/" in strata("fsck", "--repair").fails(1).stdout


def test_a_damaged_derived_layer_is_made_again(strata, base, store):
    strata("run", "base", "--", "true").ok()
    for directory in (store / "derived").iterdir():
        (directory / "tree/extra").write_text("")
    done = strata("fsck", "--repair").fails(1)
    assert "extra is not in the manifest" in done.stdout and "removed; it is made again" in done.stdout
    assert list((store / "derived").iterdir()) == []
    strata("run", "base", "--", "true").ok()
    strata("fsck").ok()


def test_damaged_names_and_pins_are_found(strata, base, store):
    (store / "refs/empty").write_text("")
    (store / "refs/gone").write_text("layer " + "0" * 64 + "\n")
    (store / "pins").mkdir(exist_ok=True)
    (store / "pins" / ("0" * 64)).write_text("")
    out = strata("fsck", "--repair").fails(1).stdout
    for text in ("ref empty: is empty", "ref gone: leads to layers/000", "pin 000000000000: pins what is not there"):
        assert text in out
    assert strata("fsck").ok().out.endswith(": clean")


def test_layers_of_an_earlier_boot_are_verified(strata, base, tree, store):
    (tree / "d/f").write_text("")
    restart(store)
    done = strata("fsck").fails(1)
    assert f"moved to damaged/{tree.parent.name}" in done.stdout
    assert (store / "layers" / base).is_dir() and list((store / "unverified").iterdir()) == []


@pytest.mark.leaves_files
def test_leftovers_are_counted_and_are_no_damage(strata, base, store):
    (store / "tmp/0123456789abcdef").mkdir()
    assert "clean\n1 leftover of killed processes" in strata("fsck").ok().stdout


def test_unknown_layers_are_an_error(strata, base):
    strata("fsck", "bsae").fails(1, "no layer or ref named bsae", "did you mean base?")
    strata("fsck", "0" * 64).fails(1, "no layer 000")


def test_files_of_unmanaged_directories_are_not_taken_for_damaged(strata, base, tmp_path):
    (tmp_path / "art").mkdir()
    (tmp_path / "art/file").write_text("never read by strata")
    strata("run", "base", f"dir:{tmp_path}/art@k:at=/opt", "--", "cat", "/opt/file").ok()
    strata("fsck").ok()


@pytest.fixture
def big(strata, base, layer):
    """A root of many layers, named `big`; returns its key."""
    names = [f"part/{number}" for number in range(12)]
    for number, name in enumerate(names):
        layer(name, {"opt": None, f"opt/{number}": f"{number}\n"})
    return strata("compose", "-q", "--name", "big", "base", *names).ok().out


def damage_a_segment(store):
    segment = next((store / "derived").glob("segment-*"))
    (segment / "tree" / "opt").chmod(0o700)
    return segment


def test_a_named_root_outlives_a_damaged_derived_layer(strata, big, store):
    segment = damage_a_segment(store)
    assert "removed; it is made again" in strata("fsck", "--repair").fails(1).stdout
    assert not segment.exists()
    strata("fsck").ok()
    assert strata("run", "-q", "big", "--", "cat", "/opt/0", "/opt/11").ok().out == "0\n11"
    assert strata("show", "--json", "big").json()["key"] == big


@pytest.mark.leaves_files  # the empty directory of a stage
def test_what_a_stage_in_place_uses_is_left_alone(strata, big, store, tmp_path):
    method = "overlay" if os.geteuid() == 0 else "copy"
    at = tmp_path / "at"
    strata("stage", "--method", method, "big", at).ok()
    try:
        segment = damage_a_segment(store)
        out = strata("fsck", "--repair").fails(1).stdout
        # A copy needs nothing of the store any more.
        in_use = method == "overlay"
        assert segment.exists() == in_use and ("left as it is" in out) == in_use
        assert (at / "opt" / "11").read_text() == "11\n"
    finally:
        strata("unstage", at).ok()
