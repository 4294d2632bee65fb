"""Importing again what a damaged layer was made of makes it whole, at one instant, whoever uses it meanwhile."""

import json
import os
import random
import shutil
import signal

import pytest
import store_check
from archives import Dir, write_tar
from test_fallback import deny  # noqa: F401  a fixture
from test_fsck import DAMAGES, ENTRIES, keep_times

# Seen by opening the file alone: fsck does, an import that would change nothing does not.
FOUND_BY_FSCK_ALONE = ("content", "attribute")


@pytest.fixture
def archive(make_tar):
    # Without the file that store_check may not read as an ordinary user.
    return make_tar("l.tar", {path: entry for path, entry in ENTRIES.items() if path != "none"})


@pytest.fixture
def tree(strata, archive, store):
    return store / "layers" / strata("import", "--name", "l", archive).ok().out / "tree"


def damage(tree, kind):
    path, change, _ = DAMAGES[kind]
    if kind in ("extra", "a link for a directory"):
        change(tree / path)
    else:
        keep_times(tree / path, change)


@pytest.mark.parametrize("kind", DAMAGES)
def test_importing_again_heals(strata, tree, archive, store, kind):
    damage(tree, kind)
    id = tree.parent.name
    if kind in FOUND_BY_FSCK_ALONE:
        assert strata("import", "--json", archive).json()["existed"]
    report = json.loads(strata("fsck", "--json").fails(1).stdout)
    assert report["import_again"] == [{"id": id, "refs": ["l"]}]
    done = strata("import", "--json", archive).ok()
    assert (done.json()["id"], done.json()["existed"], done.json()["replaced"]) == (id, False, True)
    assert f"layer {id[:12]} was damaged, and is whole again" in done.stderr
    assert store_check.problems(store) == [] and "1 layer in damaged/ that had to be imported again" in strata("fsck").ok().out
    assert strata("import", "--json", archive).json()["existed"]
    assert "removed 1 damaged layer, which was imported again since" in strata("gc").ok().out
    assert list((store / "damaged").iterdir()) == []
    assert strata("show", "--json", "l").json()["id"] == id


@pytest.mark.parametrize("kind", ["tree", "no directory", "manifest", "cut manifest"])
def test_a_layer_that_lacks_a_part_is_healed_without_fsck(strata, tree, archive, store, kind):
    manifest = tree.parent / "manifest"
    if kind == "tree":
        shutil.rmtree(tree)
    elif kind == "no directory":
        shutil.rmtree(tree)
        tree.write_text("")
    elif kind == "manifest":
        manifest.unlink()
    else:
        manifest.write_bytes(manifest.read_bytes()[:-1])
    assert strata("import", "--json", archive).ok().json()["replaced"]
    assert store_check.problems(store) == []
    strata("fsck").ok()


def test_after_a_repair_it_comes_back_by_an_import(strata, tree, archive, store):
    damage(tree, "content")
    id = tree.parent.name
    out = strata("fsck", "--repair").fails(1).stdout
    assert f"to be imported again: layer {id[:12]}, which was l\n" in out
    done = strata("import", "--json", "--name", "l", archive).ok().json()
    assert not done["existed"] and not done["replaced"]
    assert strata("fsck").ok().out.endswith(": clean")


def test_what_fsck_found_is_forgotten_when_it_is_well_again(strata, tree, archive):
    content = (tree / "d/f").read_bytes()
    damage(tree, "content")
    strata("fsck").fails(1)
    keep_times(tree / "d/f", lambda p: p.write_bytes(content))
    strata("fsck").ok()
    assert strata("import", "--json", archive).json()["existed"]


def test_what_shuts_out_its_owner_is_looked_at_all_the_same(strata, make_tar, store):
    archive = make_tar("shut.tar", {"shut": Dir(0), "shut/f": "x"})
    tree = store / "layers" / strata("import", archive).ok().out / "tree"
    assert strata("import", "--json", archive).json()["existed"]
    (tree / "shut").chmod(0o700)
    (tree / "shut/f").unlink()
    os.utime(tree / "shut", (0, 0))
    (tree / "shut").chmod(0)
    assert strata("import", "--json", archive).ok().json()["replaced"]
    strata("fsck").ok()


def test_a_running_sandbox_survives_and_gc_waits_for_it(strata, base, tree, archive, store):
    running = strata.start("run", "base", "l", "--", "sh", "-c", "echo; read x; cat /d/g /usr/share/greeting", stdin=-1)
    running.stdout.readline()
    damage(tree, "missing")
    old = os.stat(tree).st_ino
    assert strata("import", "--json", archive).ok().json()["replaced"]
    assert os.stat(tree).st_ino != old
    assert strata("run", "base", "l", "--", "cat", "/d/f").ok().out == "content"
    strata("gc", "--all").ok()
    assert len(list((store / "damaged").iterdir())) == 1
    assert running.communicate(b"\n")[0] == b"other\nhello\n"
    assert "removed 1 damaged layer" in strata("gc").ok().out
    assert list((store / "damaged").iterdir()) == []
    strata("fsck").ok()


def test_what_was_made_of_it_is_made_again(strata, base, layer, store, tmp_path):
    names = [f"part/{number}" for number in range(12)]
    for number, name in enumerate(names):
        layer(name, {"opt": None, f"opt/{number}": f"{number}\n"})
    strata("compose", "-q", "base", *names).ok()
    id = strata("show", "--json", "part/3").json()["id"]
    (store / "layers" / id / "tree/opt/3").write_text("damaged")  # a segment has the same inode
    done = strata("import", tmp_path / "part_3.layer.tar").ok()
    assert "derived layer segment-" in done.stderr and "was damaged, too: removed" in done.stderr
    strata("fsck").ok()
    assert strata("run", "base", *names, "--", "cat", "/opt/3").ok().out == "3"


def test_where_nothing_can_be_exchanged_it_is_renamed_twice(strata, deny, tree, archive, store):
    damage(tree, "missing")
    # libc has another call for a rename without flags.
    assert deny("ENOSYS", "renameat2", "import", "--json", archive).ok().json()["replaced"]
    assert store_check.problems(store) == []
    assert "removed 1 damaged layer" in strata("gc").ok().out


def test_of_two_imports_at_once_one_replaces(strata, tree, archive, store):
    damage(tree, "missing")
    for process in [strata.start("import", archive) for _ in range(4)]:
        assert process.communicate()[0].decode().strip() == tree.parent.name
        assert process.returncode == 0
    assert len(list((store / "damaged").iterdir())) == 1
    assert store_check.problems(store) == []


@pytest.mark.leaves_files
def test_a_replacement_that_is_killed_loses_nothing(strata, tree, archive, store):
    chance = random.Random(7)
    replaced = 0
    for _ in range(12):
        if (tree / "d/f").exists():
            damage(tree, "missing")
        process = strata.start("import", "-q", archive)
        try:
            process.wait(chance.uniform(0, 0.03))
        except Exception:  # noqa: BLE001  still at it
            process.send_signal(signal.SIGKILL)
        process.communicate()
        # It is one of the two: the damaged one, or the whole one.
        problems = store_check.problems(store)
        assert tree.is_dir() and all("d" in problem for problem in problems)
        replaced += not problems
        assert (tree / "d/g").read_text() == "other\n"
    strata("import", "-q", archive).ok()
    assert store_check.problems(store) == []
    strata("fsck").ok()


@pytest.mark.parametrize("mtime", [253402300799, -(2**40)], ids=["the year 9999", "long before 1901"])
def test_a_time_that_the_file_system_cannot_hold_is_no_damage(strata, make_tar, tmp_path, mtime):
    archive = write_tar(tmp_path / "t.tar", {"file": "x"}, mtime=mtime)
    strata("import", "--name", "l", archive).ok()
    again = strata("import", "--json", archive).ok().json()
    assert again["existed"] and not again["replaced"]
    strata("fsck").ok()


def test_a_capture_that_replaces_a_damaged_layer_mends_what_was_made_of_it(strata, base, store):
    capture = ("run", "--mtime", "1", "--capture", "made", "base", "--", "sh", "-c", "mkdir /new; echo good > /new/file")
    strata(*capture).ok()
    made = strata("show", "--json", "made").ok().json()["id"]
    file = store / "layers" / made / "tree/new/file"
    keep_times(file, lambda path: path.write_text("evil\n"))
    strata("fsck").fails(1)
    assert "is whole again" in strata(*capture).ok().stderr
    assert file.read_text() == "good\n"
    strata("fsck").ok()
