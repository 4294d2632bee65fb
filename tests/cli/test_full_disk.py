"""A disk without room, without inodes, or read-only. It mounts disks: conftest.py leaves it out for others than root."""

import os
import subprocess

import pytest
import store_check
from archives import File, write_tar
from test_faults import listing


@pytest.fixture
def tmpfs(strata, tmp_path, base_tar):
    """A store with `base` in it, on a tmpfs of its own. Called with mount options; returns its path."""
    mounted = []

    def make(options):
        at = tmp_path / "mnt"
        at.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", at], check=True)
        mounted.append(at)
        strata.env["STRATA_STORE"] = str(at / "store")
        strata("import", "--name", "base", base_tar).ok()
        strata("run", "base", "--", "true").ok()
        return at / "store"

    yield make
    for at in mounted:
        subprocess.run(["umount", at], check=True)


FULL = {
    "room": ("size=12M", {f"d/f{n}": File(bytes([n]) * 900_000) for n in range(16)}),
    "inodes": ("size=64M,nr_inodes=300", {f"d/f{n}": str(n) for n in range(1000)}),
}


@pytest.mark.parametrize("kind", FULL)
def test_an_import_that_does_not_fit_leaves_nothing(strata, tmpfs, tmp_path, kind):
    options, entries = FULL[kind]
    store = tmpfs(options)
    before = listing(store)
    strata("import", write_tar(tmp_path / "x.tar", entries)).fails(1, "No space left on device")
    assert listing(store) == before and list((store / "tmp").iterdir()) == []
    strata("fsck").ok()
    assert strata("run", "base", "--", "cat", "/usr/share/greeting").ok().out == "hello"


def test_a_capture_that_does_not_fit_leaves_nothing(strata, tmpfs):
    store = tmpfs("size=12M")
    before = listing(store)
    done = strata("run", "--capture", "big", "base", "--", "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=40")
    assert done.returncode != 0 and "No space left on device" in done.stderr
    assert [name for name in listing(store) if "derived" not in name and "roots" not in name] == [
        name for name in before if "derived" not in name and "roots" not in name]
    assert store_check.problems(store) == []
    strata("fsck").ok()


def test_a_read_only_store_can_be_read(strata, tmpfs):
    store = tmpfs("size=64M")
    strata("fsck").ok()
    before = listing(store)
    subprocess.run(["mount", "-o", "remount,ro", store.parent], check=True)
    for command in (("list",), ("show", "base"), ("files", "base"), ("fsck",), ("export", "-o", "/dev/null", "base")):
        strata(*command).ok()
    strata("import", "/etc/default").fails(1, "Read-only file system", "hint: choose a directory that you may write to")
    strata("tag", "base", "other").fails(1, "set ref other", "Read-only file system")
    assert strata("run", "--read-only", "base", "--", "cat", "/usr/share/greeting").ok().out == "hello"
    assert listing(store) == before


def test_a_read_only_store_after_a_restart(strata, tmpfs):
    store = tmpfs("size=64M")
    (store / "boot").unlink()
    (store / "boot").symlink_to("another")
    subprocess.run(["mount", "-o", "remount,ro", store.parent], check=True)
    strata("list").ok()
    strata("run", "--read-only", "base", "--", "true").fails(125, "may be torn", "hint: make the store writable once")
    subprocess.run(["mount", "-o", "remount,rw", store.parent], check=True)
    strata("fsck").ok()
    (store / "boot").unlink()
    (store / "boot").symlink_to("another")
    subprocess.run(["mount", "-o", "remount,ro", store.parent], check=True)
    # All of it is known to be on the disk.
    strata("export", "-o", "/dev/null", "base").ok()


def test_room_made_by_removing_is_enough_after_a_restart(strata, tmpfs, tmp_path):
    store = tmpfs("size=12M")
    (store / "boot").unlink()
    (store / "boot").symlink_to("another")
    filler = os.open(store.parent / "filler", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError):
        while True:
            os.write(filler, b"x" * 4096)
    os.close(filler)
    strata("rm", "base").ok()
    os.unlink(store.parent / "filler")
    strata("fsck").ok()
