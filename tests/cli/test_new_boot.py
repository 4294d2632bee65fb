"""After a restart of the machine: what may be torn is compared with its manifest before it is used.

A restart is made by changing the boot that the store remembers: the entry `boot` (cache/format.md).
What a power loss really leaves on a disk is in test_power_loss.py.
"""

import os
import stat
import time

import pytest
import store_check
from archives import File


def restart(store):
    """The next strata finds that the store was last used in another boot."""
    (store / "boot").unlink()
    (store / "boot").symlink_to("00000000-0000-0000-0000-000000000000")


def is_marked(path):
    return bool(path.lstat().st_mode & stat.S_ISVTX)


def the_boot():
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def test_a_new_store_knows_its_boot(strata, base, store):
    assert os.readlink(store / "boot") == the_boot()
    assert not is_marked(store / "layers" / base)


@pytest.mark.leaves_files  # the derived layers of the last boot are in trash/ until an import
def test_a_whole_layer_comes_back_and_is_verified_once(strata, base, store):
    restart(store)
    strata("list").ok()
    assert os.readlink(store / "boot") == the_boot()
    # A listing reads no content.
    assert [path.name for path in (store / "unverified").iterdir()] == [base]
    assert strata("run", "base", "--", "cat", "/usr/share/greeting").ok().out == "hello"
    assert list((store / "unverified").iterdir()) == []
    assert is_marked(store / "layers" / base)
    restart(store)
    strata("list").ok()
    assert (store / "layers" / base).is_dir()
    assert store_check.problems(store) == []


def test_a_torn_layer_is_never_used(strata, base, store, base_tar):
    torn = store / "layers" / base / "tree/usr/share/greeting"
    status = torn.stat()
    torn.write_bytes(b"\0" * 6)  # as after a power loss: the right size, no content
    os.utime(torn, ns=(status.st_atime_ns, status.st_mtime_ns))
    restart(store)
    for _ in range(2):
        strata("run", "base", "--", "true").fails(
            125, f"layer {base[:12]} (base) is damaged", "hint: import or make it again", f"damaged/{base}")
    # Its name stays, and says so; what is left of it can be looked at.
    assert (store / "refs/base").read_text() == f"layer {base}\n"
    assert (store / "damaged" / base / "tree/bin/busybox").is_file()
    assert strata("import", base_tar).ok().out == base
    assert strata("run", "base", "--", "cat", "/usr/share/greeting").ok().out == "hello"
    assert list((store / "damaged").iterdir()) == []


def test_the_error_names_what_is_torn(strata, base, store):
    (store / "layers" / base / "tree/usr/share/greeting").unlink()
    restart(store)
    strata("run", "base", "--", "true").fails(
        125, "is damaged since the machine went down", "/usr/share/greeting is missing")


def test_a_torn_manifest_is_noticed_without_reading_the_tree(strata, base, store):
    manifest = store / "layers" / base / "manifest"
    data = manifest.read_bytes()
    manifest.write_bytes(data[:300] + b"\0" * (len(data) - 300))
    restart(store)
    strata("files", "base").fails(1, f"layer {base[:12]} (base) is damaged", "manifest has the id")


def test_a_torn_layer_can_be_removed_by_its_name(strata, base, store):
    (store / "layers" / base / "manifest").write_bytes(b"")
    restart(store)
    strata("run", "base", "--", "true").fails(125, "is damaged")
    strata("rm", "base").ok()
    assert list((store / "damaged").iterdir()) == []
    assert list((store / "refs").iterdir()) == []


def test_what_can_be_made_again_is_dropped(strata, base, store):
    strata("run", "base", "--", "true").ok()
    before = {path.name: path.stat().st_ino for path in (store / "derived").iterdir()}
    assert before
    restart(store)
    strata("run", "base", "--", "true").ok()
    after = {path.name: path.stat().st_ino for path in (store / "derived").iterdir()}
    assert after.keys() == before.keys() and after != before
    strata("import", store / "derived").ok()  # it takes the old ones away, too
    assert list((store / "trash").iterdir()) == []


def test_a_tree_that_shuts_its_owner_out_is_verified(strata, store, layer):
    id = layer("shut", {"d": None, "d/none": File("x", mode=0), "d/f": "y"})
    os.chmod(store / "layers" / id / "tree/d", 0o755)
    restart(store)
    strata("export", "-o", "shut.tar", "shut").ok()
    assert store_check.layer_problems(store / "layers" / id) == [] if os.geteuid() == 0 else True
    assert stat.S_IMODE((store / "layers" / id / "tree/d/none").stat().st_mode) == 0


def test_an_import_marks_what_was_published_before(strata, base, store, layer):
    past = time.time() - 100
    os.utime(store / "boot", (past, past), follow_symlinks=False)
    for number in range(100):  # it does not, while the machine has much to write
        second = layer(f"l{number}", {"x": str(number)})
        if is_marked(store / "layers" / base):
            break
        time.sleep(0.1)
        os.sync()
    assert is_marked(store / "layers" / base)
    assert not is_marked(store / "layers" / second)
    # At most once a minute.
    layer("third", {"x": "third"})
    assert not is_marked(store / "layers" / second)


def test_a_ref_that_is_empty_is_recognised(strata, base, store):
    (store / "refs/base").write_bytes(b"")
    strata("run", "base", "--", "true").fails(125, "ref base is damaged", "hint: give it again: strata tag ID base")
    strata("tag", base, "base").ok()
    strata("run", "base", "--", "true").ok()


def test_a_store_whose_format_was_lost_is_taken_up_again(strata, base, store):
    (store / "format").write_bytes(b"")
    assert strata("run", "base", "--", "cat", "/usr/share/greeting").ok().out == "hello"
    assert (store / "format").read_text() == "strata store 1\n"
