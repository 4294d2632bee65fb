"""strata import, as its user sees it. What is in a layer is tested in tests/cache."""

import gzip
import os
import pty
import subprocess
import tarfile
import time

import pytest
from archives import MTIME, File, Hardlink, Special, Symlink

TREE = {
    "bin": None,
    "bin/tool": File("#!/bin/sh\n", mode=0o755),
    "bin/link": Hardlink("bin/tool"),
    "lib": Symlink("bin"),
    "data": File("x" * 5000),
}


def test_prints_the_whole_id_and_nothing_else(strata, make_tar):
    done = strata("import", make_tar("a.tar", TREE)).ok()
    assert len(done.out) == 64 and set(done.out) <= set("0123456789abcdef")
    assert done.stderr == ""


def test_the_same_content_again_is_a_no_op(strata, store, make_tar):
    archive = make_tar("a.tar", TREE)
    first = strata("import", "--json", archive).json()
    again = strata("import", "--json", archive).json()
    assert (first["existed"], again["existed"]) == (False, True)
    assert first["id"] == again["id"]
    assert len(list((store / "layers").iterdir())) == 1


def test_id_is_the_same_from_tar_gzip_stdin_and_directory(strata, make_tar, tmp_path):
    archive = make_tar("a.tar", TREE)
    wanted = strata("import", archive).ok().out
    assert strata("import", make_tar("a.tar.gz", TREE, mode="w:gz")).ok().out == wanted
    assert strata("import", "-", input=archive.read_bytes()).ok().out == wanted
    assert strata("import", "-", input=gzip.compress(archive.read_bytes())).ok().out == wanted
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-C", tree, "--no-same-owner", "-xf", archive], check=True)
    (tree / "bin").chmod(0o755)
    (tree / "data").chmod(0o644)
    (tree / "bin/tool").chmod(0o755)
    assert strata("import", tree).ok().out == wanted


def test_mtime_makes_layers_of_different_ages_equal(strata, make_tar):
    old, new = make_tar("old.tar", TREE, mtime=MTIME), make_tar("new.tar", TREE, mtime=MTIME + 9)
    assert strata("import", old).ok().out != strata("import", new).ok().out
    wanted = strata("import", "--mtime", 7, old).ok().out
    assert strata("import", "--mtime=7", new).ok().out == wanted
    times = {entry["mtime"] for entry in strata("files", "--json", wanted).json()}
    assert times == {7}


def test_mtime_keep_is_the_default(strata, make_tar):
    archive = make_tar("a.tar", TREE)
    assert strata("import", archive).ok().out == strata("import", "--mtime", "keep", archive).ok().out


def test_owner_root_and_keep(strata, make_tar):
    archive = make_tar("a.tar", {"mine": File("", uid=1234, gid=55)})

    def owner(*options):
        entry = strata("files", "--json", strata("import", *options, archive).ok().out).json()[0]
        return entry["uid"], entry["gid"]

    assert owner() == (1234, 55)
    assert owner("--owner", "keep") == (1234, 55)
    assert owner("--owner=root") == (0, 0)


def test_name_makes_a_ref_and_moves_it(strata, make_tar):
    first = strata("import", "--name", "app/x:1", make_tar("a.tar", {"a": "1"})).ok().out
    assert strata("show", "--json", "app/x:1").json()["id"] == first
    second = strata("import", "-n", "app/x:1", make_tar("b.tar", {"a": "2"})).ok().out
    assert strata("show", "--json", "app/x:1").json()["id"] == second


def test_oci_turns_wh_files_into_whiteouts(strata, make_tar):
    archive = make_tar("a.tar", {"etc": None, "etc/.wh.gone": "", "opt": None, "opt/.wh..wh..opq": ""})
    layer = strata("import", "--format", "oci", archive).ok().out
    entries = {entry["path"]: entry for entry in strata("files", "--json", layer).json()}
    assert entries["etc/gone"] == {"path": "etc/gone", "type": "whiteout"}
    assert entries["opt"]["opaque"] is True
    assert set(entries) == {"etc", "etc/gone", "opt"}


def test_json_reports_what_was_imported(strata, make_tar):
    report = strata("import", "--json", "--name", "a", make_tar("a.tar", TREE)).json()
    assert report["ref"] == "a"
    assert report["content_bytes"] == 5010
    assert report["warnings"] == []
    assert strata("import", "--json", make_tar("a.tar", TREE)).json()["ref"] is None


def test_warns_on_stderr_and_not_with_quiet(strata, make_tar):
    archive = make_tar("a.tar", {"dev": None, "dev/null": Special(tarfile.CHRTYPE, 1, 3)})
    assert strata("import", archive).ok().stderr.startswith("strata: warning: dev/null: ")
    assert strata("import", "-q", archive).ok().stderr == ""
    assert len(strata("import", "-q", "--json", archive).json()["warnings"]) == 1


def test_many_at_once_give_one_layer(strata, store, make_tar):
    archive = make_tar("a.tar", TREE)
    running = [strata.start("import", archive) for _ in range(8)]
    outs = {process.communicate(timeout=300)[0] for process in running}
    assert [process.returncode for process in running] == [0] * 8
    assert len(outs) == 1
    assert len(list((store / "layers").iterdir())) == 1


def test_collects_what_a_killed_import_left(strata, store, make_tar):
    strata("list").ok()
    left = store / "tmp" / "0123456789abcdef"
    (left / "tree" / "sub").mkdir(parents=True)
    (left / "tree" / "sub").chmod(0)
    os.utime(left, (1, 1))
    strata("import", make_tar("a.tar", TREE)).ok()
    assert not left.exists()


def _on_a_terminal(strata, *args):
    """Runs strata with stderr on a terminal, feeding it an archive slowly; returns what it wrote there."""
    leader, follower = pty.openpty()
    process = strata.start(*args, stdin=subprocess.PIPE, stderr=follower, env={"TERM": "xterm"})
    os.close(follower)
    return leader, process


def _drain(leader):
    text = b""
    try:
        while chunk := os.read(leader, 65536):
            text += chunk
    except OSError:  # EIO: the last writer is gone
        pass
    os.close(leader)
    return text.decode()


@pytest.mark.parametrize("options", [[], ["-q"]])
def test_shows_progress_on_a_terminal_after_half_a_second_unless_quiet(strata, make_tar, options):
    data = make_tar("a.tar", {"big": File(os.urandom(200_000))}).read_bytes()
    leader, process = _on_a_terminal(strata, "import", *options, "-")
    process.stdin.write(data[:100_000])
    process.stdin.flush()
    shown = ""
    if options:
        time.sleep(1.0)
    else:
        while "import -: " not in shown:
            shown += os.read(leader, 4096).decode()
    process.stdin.write(data[100_000:])
    process.stdin.close()
    assert process.wait(timeout=300) == 0
    process.stdout.close()
    shown += _drain(leader)
    if options:
        assert shown == ""
    else:
        assert "import -: " in shown and " KB" in shown
        assert shown.endswith("\r\x1b[K")


def test_shows_no_progress_for_short_work(strata, make_tar):
    data = make_tar("a.tar", TREE).read_bytes()
    for _ in range(20):  # a busy machine may make it long
        leader, process = _on_a_terminal(strata, "import", "-")
        process.stdin.write(data)
        process.stdin.close()
        assert process.wait(timeout=300) == 0
        process.stdout.close()
        shown = _drain(leader)
        if shown == "":
            break
    assert shown == ""
