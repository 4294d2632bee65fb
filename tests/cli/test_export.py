"""strata export. What is in the archives is tested in tests/cache/export_test.cc."""

import json
import os
import pty
import tarfile

import pytest
from archives import Dir, File, Hardlink, Symlink

TREE = {
    "bin": None,
    "bin/su": File("x" * 100, mode=0o4755, uid=3, gid=4, xattrs={"user.k": "v"}),
    "bin/sudo": Hardlink("bin/su"),
    "lib": Symlink("bin"),
    "ä" * 80: "long",
}


@pytest.mark.parametrize("how", ["stdout", "file"])
def test_import_of_an_exported_tar_gives_the_same_id(strata, layer, tmp_path, how):
    wanted = layer("a", TREE)
    archive = tmp_path / "out.tar"
    if how == "file":
        assert strata("export", "a", "-o", archive).ok().stdout == ""
    else:
        with open(archive, "wb") as out:
            strata("export", "a", stdout=out).ok()
    strata("rm", "a").ok()
    assert strata("import", archive).ok().out == wanted


def test_exports_what_its_owner_may_not_read(strata, layer, tmp_path):
    wanted = layer("a", {"d": Dir(0), "d/secret": File("1", mode=0)})
    strata("export", "a", "-o", tmp_path / "out.tar").ok()
    strata("rm", "a").ok()
    assert strata("import", tmp_path / "out.tar").ok().out == wanted


def test_oci_image_has_the_ref_as_its_name_and_digests_that_fit(strata, layer, tmp_path):
    a = layer("app:1", TREE)
    strata("export", "--format", "oci", "-o", tmp_path / "oci.tar", "app:1").ok()
    with tarfile.open(tmp_path / "oci.tar") as archive:
        read = lambda name: archive.extractfile(name).read()  # noqa: E731
        blob = lambda descriptor: read("blobs/sha256/" + descriptor["digest"].removeprefix("sha256:"))  # noqa: E731
        assert json.loads(read("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
        (entry,) = json.loads(read("index.json"))["manifests"]
        assert entry["annotations"] == {"org.opencontainers.image.ref.name": "app:1"}
        manifest = json.loads(blob(entry))
        (layer_blob,) = manifest["layers"]
        config = json.loads(blob(manifest["config"]))
        assert config["rootfs"]["diff_ids"] == [layer_blob["digest"]]
        assert len(blob(layer_blob)) == layer_blob["size"]
        (tmp_path / "layer.tar").write_bytes(blob(layer_blob))
    assert strata("import", "--format", "oci", tmp_path / "layer.tar").ok().out == a
    strata("export", "--format", "oci", "-o", tmp_path / "by-id.tar", a).ok()
    with tarfile.open(tmp_path / "by-id.tar") as archive:
        assert "annotations" not in archive.extractfile("index.json").read().decode()


def test_refuses_a_terminal(strata, layer):
    layer("a", TREE)
    leader, follower = pty.openpty()
    try:
        strata("export", "a", stdout=follower).fails(
            2,
            "strata: export: an archive is nothing for a terminal\n"
            "hint: name a file, or send it elsewhere: -o FILE, | COMMAND\n",
        )
    finally:
        os.close(follower)
        os.close(leader)


def test_json_needs_a_file(strata, layer, tmp_path):
    a = layer("a", TREE)
    strata("export", "--json", "a").fails(2, "strata: export: --json needs -o FILE")
    out = tmp_path / "a.tar"
    assert strata("export", "--json", "a", "-o", out).json() == {"id": a, "file": str(out)}


def test_whiteouts_need_oci_and_leave_no_file(strata, make_tar, tmp_path):
    archive = make_tar("a.tar", {"etc": None, "etc/.wh.x": ""})
    strata("import", "--name", "a", "--format", "oci", archive).ok()
    strata("export", "a", "-o", tmp_path / "out.tar").fails(
        1,
        "strata: export a: /etc/x: a tar archive cannot hold a whiteout\n"
        "hint: an OCI image can: --format oci\n",
    )
    assert list(tmp_path.glob("out.tar*")) == []


def test_a_failed_export_leaves_an_older_file_alone(strata, make_tar, tmp_path):
    archive = make_tar("a.tar", {"etc": None, "etc/.wh.x": ""})
    strata("import", "--name", "a", "--format", "oci", archive).ok()
    (tmp_path / "out.tar").write_text("older")
    strata("export", "a", "-o", tmp_path / "out.tar").fails(1)
    assert (tmp_path / "out.tar").read_text() == "older"


def test_writes_into_a_device_and_does_not_replace_it(strata, layer):
    layer("a", TREE)
    strata("export", "a", "-o", "/dev/null").ok()
    strata("export", "a", "-o", "/dev/full").fails(
        1, "strata: export a: write /dev/full: No space left on device\nhint: the file system is full"
    )
    assert os.stat("/dev/full").st_rdev == os.makedev(1, 7)
