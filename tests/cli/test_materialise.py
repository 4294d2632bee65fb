"""Owners with a range of ids (--userns subuid): layers are mounted from trees that have them on disk."""

import os

import pytest

from archives import MTIME, Dir, File, Symlink

SUBUID = ("--userns", "subuid")


@pytest.fixture(autouse=True)
def nothing_of_others_stays(strata):
    """Or whoever removes the test's directory could not."""
    yield
    strata("gc", "--all").ok()


@pytest.fixture
def www(layer):
    """A layer with files of www-data."""
    return layer(
        "www",
        {
            "var/www": Dir(0o750, 33, 33),
            "var/www/index": File("html\n", 0o640, 33, 33),
            "var/www/of-root": "root\n",
            "usr/bin/su": File("su\n", 0o4755, 0, 42),
        },
    )


def materialisations(store):
    return sorted(path.name for path in (store / "derived").glob("owners-*"))


def owners(strata, *paths, options=SUBUID, layers=("base", "www")):
    done = strata("run", *options, *layers, "--", "stat", "-c", "%u:%g %a", *paths)
    return done.ok().out.splitlines()


def test_owners_of_layers_are_seen_inside(strata, store, base, www):
    paths = ("/var/www", "/var/www/index", "/var/www/of-root", "/usr/bin/su", "/etc/passwd")
    assert owners(strata, *paths) == ["33:33 750", "33:33 640", "0:0 644", "0:42 755", "0:0 644"]
    assert len(materialisations(store)) == 1, "base has no other owners"
    assert owners(strata, *paths, options=("--userns", "single"))[0] == "0:0 750"
    assert owners(strata, "/var/www", options=()) == ["33:33 750"], "auto: the layers need it"


def test_a_layer_of_root_alone_needs_no_second_tree(strata, store, base):
    assert owners(strata, "/etc/passwd", layers=("base",)) == ["0:0 644"]
    assert materialisations(store) == []


def test_another_user_reads_what_is_its_own_and_no_more(strata, base, www):
    done = strata("run", *SUBUID, "--uid", "33", "--gid", "33", "base", "www", "--", "cat", "/var/www/index")
    assert done.ok().out == "html"
    strata("run", *SUBUID, "--uid", "34", "--gid", "34", "base", "www", "--", "cat", "/var/www/index").fails(1)


def test_a_capture_has_the_owners_seen_inside_and_the_id_of_such_an_import(strata, store, base, make_tar):
    script = "mkdir /srv; echo x > /srv/f; chmod 400 /srv/f; ln -s f /srv/l; chown -h 33:34 /srv/f /srv/l; chown 7 /srv"
    strata.sh(script, options=(*SUBUID, "--capture", "made", "--mtime", str(MTIME))).ok()
    (made,) = [ref["id"] for ref in strata("list", "refs", "--json").json() if ref["name"] == "made"]
    strata.sh("mkdir /srv; echo x > /srv/f; chown 7 /srv", options=(*SUBUID, "--capture", "other")).ok()
    link = Symlink("f")
    link.uid, link.gid = 33, 34
    archive = make_tar(
        "same.tar", {"srv": Dir(0o755, 7, 0), "srv/f": File("x\n", 0o400, 33, 34), "srv/l": link}, mtime=MTIME
    )
    assert strata("import", archive).ok().out == made
    # The tree is the caller's, and a root of it shows the owners again.
    for path in (store / "layers" / made / "tree").rglob("*"):
        assert path.lstat().st_uid == os.geteuid()
    assert owners(strata, "/srv", "/srv/f", layers=("base", "made")) == ["7:0 755", "33:34 400"]
    assert strata("fsck").ok()


def test_a_change_of_owner_is_captured_and_nothing_else(strata, base, www):
    strata.sh(
        "chown 5 /var/www/of-root; touch /var/www; cat /var/www/index",
        "base",
        "www",
        options=(*SUBUID, "--capture", "moved", "--mtime", str(MTIME)),
    ).ok()
    listed = strata("files", "--json", "moved").json()
    assert {entry["path"]: (entry["uid"], entry["gid"]) for entry in listed if entry["path"] in (
        "var/www/of-root", "var/www/index")} == {"var/www/of-root": (5, 0)}
    assert owners(strata, "/var/www/of-root", "/var/www", layers=("base", "www", "moved")) == ["5:0 644", "33:33 750"]


def test_what_is_delivered_belongs_to_the_caller(strata, base, tmp_path):
    script = (
        "mkdir /out/d; echo x > /out/d/f; ln -s f /out/d/l; chmod 4750 /out/d/f; "
        "chown -h 33:34 /out/d/l /out/d/f /out/d; chmod 700 /out/d"
    )
    strata.sh(script, options=(*SUBUID, "--output", f"/out={tmp_path}/out")).ok()
    for path in (tmp_path / "out", *(tmp_path / "out").rglob("*")):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (os.geteuid(), os.getegid()), path
    assert (tmp_path / "out/d/f").read_text() == "x\n"


def test_an_output_is_captured_with_its_owners(strata, base):
    script = "mkdir /out/d; echo x > /out/d/f; chown -R 33:34 /out/d; chown 5 /out; chmod 700 /out /out/d"
    strata.sh(script, options=(*SUBUID, "--output", "/out", "--capture", "out")).ok()
    assert owners(strata, "/d", "/d/f", layers=("base", "out")) == ["33:34 700", "33:34 644"]


def test_integration_commands_see_owners_and_change_them(strata, store, base, www):
    options = ("--integrate", "stat -c %u /var/www > /var/was; chown 5 /var/was", *SUBUID)
    assert owners(strata, "/var/was", options=options) == ["5:0 644"]
    assert strata("run", *options, "base", "www", "--", "cat", "/var/was").ok().out == "33"
    names = materialisations(store)
    assert len(names) == 2 and any("-integration-" in name for name in names)


def test_a_workspace_keeps_owners(strata, base):
    options = (*SUBUID, "--workspace", "w")
    strata.sh("mkdir -m 700 /d; touch /d/f; chown -R 33:34 /d", options=options).ok()
    assert owners(strata, "/d/f", options=options, layers=("base",)) == ["33:34 644"]
    strata.sh("true", options=(*options, "--capture", "w")).ok()
    assert owners(strata, "/d", "/d/f", layers=("base", "w")) == ["33:34 700", "33:34 644"]
    strata.sh("rm -r /d", options=options).ok()


def test_it_goes_with_its_layer(strata, store, base, www):
    owners(strata, "/var/www")
    strata("rm", "www").ok()
    assert materialisations(store) == []
    assert list((store / "trash").iterdir()) == []


def test_gc_drops_it_when_it_is_not_used(strata, store, base, www):
    owners(strata, "/var/www")
    strata("gc").ok()
    assert len(materialisations(store)) == 1, "younger than an hour"
    strata("gc", "--all").ok()
    assert materialisations(store) == []
    assert owners(strata, "/var/www") == ["33:33 750"]


def test_gc_leaves_the_one_of_a_running_stage(strata, store, base, www):
    running = strata.start("run", *SUBUID, "base", "www", "--", "/bin/sh", "-c", "echo; read line; stat -c %u /var/www",
                           stdin=-1)
    assert running.stdout.readline() == b"\n"
    strata("gc", "--all").ok()
    assert len(materialisations(store)) == 1
    out, _ = running.communicate(b"\n")
    assert out == b"33\n"


def test_fsck_finds_damage_in_it(strata, store, base, www):
    owners(strata, "/var/www")
    assert strata("fsck").ok()
    (name,) = materialisations(store)
    strata("run", "base", "--", "true").ok()
    os.unlink(store / "derived" / name / "tree" / "usr" / "bin" / "su")
    strata("fsck").fails(None)
    strata("fsck", "--repair").fails(1)
    assert materialisations(store) == []
    assert owners(strata, "/usr/bin/su") == ["0:42 755"]


def test_an_owner_outside_the_range_is_an_error_or_the_caller(strata, base, layer):
    layer("far", {"opt": None, "opt/far": File("far\n", 0o644, 70000, 33)})
    done = strata("run", *SUBUID, "base", "far", "--", "true")
    done.fails(125, "opt/far belongs to uid 70000, which is not among the ids that are mapped", "/etc/subuid")
    assert owners(strata, "/opt/far", options=(), layers=("base", "far")) == ["0:33 644"]
