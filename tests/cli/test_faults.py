"""Faults of the machine: each gives a clear error, and leaves the store as it was."""

import os
import resource
import subprocess
import time

import pytest
from archives import File, write_tar
from test_new_boot import restart


def listing(store):
    """What is visible in a store. Directories that come and go empty are no matter."""
    return sorted(
        str(path.relative_to(store)) for place in ("layers", "refs", "roots", "derived", "damaged")
        for path in (store / place).glob("*"))


@pytest.fixture
def unchanged(strata, base, store):
    """Runs a call that must fail and change nothing."""

    def call(*args, status=None, texts=(), **options):
        before = listing(store)
        strata(*args, **options).fails(status, *texts)
        assert listing(store) == before
        strata("fsck").ok()
        assert strata("run", "base", "--", "cat", "/usr/share/greeting").ok().out == "hello"

    return call


@pytest.mark.leaves_files  # removing takes descriptors, too: a later import does it
def test_too_few_descriptors(strata, unchanged, tmp_path):
    archive = write_tar(tmp_path / "x.tar", {f"d/f{n}": str(n) for n in range(200)})

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))

    unchanged("import", archive, status=1, texts=("Too many open files",), preexec_fn=few)


def test_more_layers_than_descriptors(strata, layer):
    names = [layer(f"l{n}", {f"f{n}": str(n)}) and f"l{n}" for n in range(40)]

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    done = strata("compose", *names, preexec_fn=few)
    done.fails(1, "Too many open files", "hint: each layer takes a descriptor", "ulimit -n")


def test_a_file_over_the_limit(strata, unchanged, tmp_path):
    archive = write_tar(tmp_path / "x.tar", {"big": File(b"x" * 3_000_000)})

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    unchanged("import", archive, status=1, texts=("big: write: File too large",), preexec_fn=small)


def test_a_layer_without_its_tree(strata, base, store):
    subprocess.run(["rm", "-r", store / "layers" / base / "tree"], check=True)
    strata("run", "base", "--", "true").fails(
        125, f"layer {base[:12]} (base) is damaged", "hint: `strata fsck")
    assert f"layer {base[:12]}: its tree is missing" in strata("fsck").fails(1).stdout
    strata("rm", "base").ok()
    assert listing(store) == [] or all("derived" in name for name in listing(store))


def test_a_layer_whose_tree_is_missing_is_replaced_by_an_import(strata, base, store, base_tar):
    subprocess.run(["rm", "-r", store / "layers" / base / "tree"], check=True)
    assert strata("import", base_tar).ok().out == base
    assert strata("run", "base", "--", "cat", "/usr/share/greeting").ok().out == "hello"
    strata("import", base_tar).ok()  # takes what was in the way out of trash/
    strata("fsck").ok()


def test_a_layer_that_somebody_removed(strata, base, store, base_tar):
    subprocess.run(["rm", "-r", store / "layers" / base], check=True)
    strata("run", "base", "--", "true").fails(
        125, f"no layer {base}", "hint: it was base, and somebody removed it: import it again")
    assert "ref base: leads to layers/" in strata("fsck").fails(1).stdout
    strata("import", base_tar).ok()
    strata("fsck").ok()


def test_a_manifest_that_is_no_manifest(strata, base, store):
    (store / "layers" / base / "manifest").write_bytes(b"x" * 100)
    for command in (("files", "base"), ("show", "base"), ("list",), ("export", "-o", "x.tar", "base")):
        strata(*command).fails(1, f"layer {base[:12]} is damaged", "not a manifest", f"hint: `strata fsck {base[:12]}`")
    strata("fsck", "--repair").fails(1)
    assert strata("list").ok().out == ""


def test_a_newer_format_is_refused_and_left_alone(strata, base, store):
    (store / "format").write_text("strata store 2\n")
    before = listing(store)
    for command in (("list",), ("fsck", "--repair"), ("run", "base", "--", "true")):
        strata(*command).fails(None, "its format is 'strata store 2'; this strata knows 'strata store 1'", "hint: ")
    assert listing(store) == before


def test_times_in_the_future(strata, base, store, layer):
    future = time.time() + 10**6
    for path in (store, *store.iterdir(), *(store / "layers").iterdir(), *(store / "derived").iterdir()):
        os.utime(path, (future, future), follow_symlinks=False)
    layer("l", {"x": "1"})
    strata("run", "base", "l", "--", "true").ok()
    restart(store)
    os.utime(store / "boot", (future, future), follow_symlinks=False)
    strata("run", "base", "l", "--", "true").ok()
    strata("import", store / "refs").ok()  # takes what the restart left in trash/
    strata("fsck").ok()


def test_two_stores(strata, base, store, tmp_path):
    other = {"STRATA_STORE": tmp_path / "other"}
    archive = tmp_path / "base.tar"
    strata("export", "-o", archive, "base").ok()
    assert strata("import", "--name", "base", archive, env=other).ok().out == base
    assert strata("run", "base", "--", "cat", "/usr/share/greeting", env=other).ok().out == "hello"
    strata("fsck", env=other).ok()
