"""--output: a plain directory that a HOSTDIR or a new layer receives."""

import os
import shutil

import pytest
from archives import tree


def test_hostdir_receives_the_output(strata, base, tmp_path):
    script = "mkdir /out/d; echo x > /out/d/f; ln -s d/f /out/l; chmod 4750 /out/d/f"
    strata.sh(script, options=("--output", f"/out={tmp_path}/result")).ok()
    found = tree(tmp_path / "result")
    assert set(found) == {"d", "d/f", "l"}
    assert found["l"] == ("link", None, "d/f")
    assert found["d/f"][2] == b"x\n"


def test_the_output_starts_empty_and_can_be_in_the_way_of_a_layer(strata, base, tmp_path):
    done = strata.sh("ls -A /usr/share; echo x > /usr/share/f", options=("--output", f"/usr/share={tmp_path}/result"))
    assert done.ok().out == ""
    assert set(tree(tmp_path / "result")) == {"f"}


def test_the_output_is_delivered_by_rename(strata, base, tmp_path):
    # The same inode: nothing was copied.
    done = strata.sh("echo x > /out/f; stat -c %i /out/f", options=("--output", f"/out={tmp_path}/result")).ok()
    assert (tmp_path / "result/f").stat().st_ino == int(done.out)


def test_an_output_on_another_file_system_is_copied(strata, base, tmp_path):
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("/dev/shm is not writable here")
    result = f"/dev/shm/strata-output-test-{os.getpid()}"
    script = "mkdir /out/d; echo x > /out/d/f; ln -s d/f /out/l; chmod 750 /out/d"
    strata.sh(script, options=("--output", f"/out={result}")).ok()
    try:
        found = tree(result)
        assert found == {"d": ("dir", 0o750, None), "d/f": ("file", 0o644, b"x\n"), "l": ("link", None, "d/f")}
    finally:
        shutil.rmtree(result)


def test_an_empty_hostdir_is_replaced(strata, base, tmp_path):
    (tmp_path / "result").mkdir()
    strata.sh("echo x > /out/f", options=("--output", f"/out={tmp_path}/result")).ok()
    assert set(tree(tmp_path / "result")) == {"f"}


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_a_hostdir_that_has_something_is_refused_before_anything_runs(strata, base, tmp_path, kind):
    result = tmp_path / "result"
    if kind == "directory":
        result.mkdir()
        (result / "mine").write_text("precious")
    elif kind == "file":
        result.write_text("precious")
    else:
        result.symlink_to(tmp_path / "elsewhere")
    done = strata.sh("echo it ran", options=("--output", f"/out={result}"))
    done.fails(125, str(result), "is there already")
    assert done.out == ""
    assert result.is_symlink() if kind == "link" else (result / "mine").exists() or result.is_file()


def test_a_hostdir_whose_parent_is_missing_is_refused_before_anything_runs(strata, base, tmp_path):
    done = strata.sh("echo it ran", options=("--output", f"/out={tmp_path}/no/where"))
    done.fails(125, f"{tmp_path}/no")
    assert done.out == ""


def test_a_relative_hostdir_is_the_callers(strata, base, tmp_path):
    strata("run", "--output", "/out=result", "base", "--", "touch", "/out/f", cwd=tmp_path).ok()
    assert (tmp_path / "result/f").exists()


def test_nothing_is_delivered_when_the_command_fails(strata, base, tmp_path):
    done = strata.sh("echo x > /out/f; exit 3", options=("--output", f"/out={tmp_path}/result"))
    done.fails(3, "nothing is kept")
    assert not (tmp_path / "result").exists()


def test_nothing_is_delivered_when_a_signal_kills_the_command(strata, base, tmp_path):
    strata.sh("kill -9 $$", options=("--output", f"/out={tmp_path}/result")).fails(137, "nothing is kept", "signal 9")
    assert not (tmp_path / "result").exists()


def test_capture_failed_delivers_it_all_the_same(strata, base, tmp_path):
    options = ("--output", f"/out={tmp_path}/result", "--capture-failed")
    strata.sh("echo x > /out/f; exit 3", options=options).fails(3)
    assert (tmp_path / "result/f").exists()


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_output_directory_is_0755(strata, base, tmp_path, umask):
    done = strata.sh("stat -c %a /out", options=("--output", f"/out={tmp_path}/result"), umask=umask).ok()
    assert done.out == "755"
    assert (tmp_path / "result").stat().st_mode & 0o7777 == 0o755


def test_an_output_below_tmp(strata, base, tmp_path):
    strata.sh("echo x > /tmp/out/f", options=("--output", f"/tmp/out={tmp_path}/result")).ok()
    assert (tmp_path / "result/f").exists()


def test_an_output_of_a_read_only_root(strata, base, tmp_path):
    strata.sh("echo x > /out/f", options=("--read-only", "--output", f"/out={tmp_path}/result")).ok()
    assert (tmp_path / "result/f").exists()


def test_an_output_that_nobody_receives_is_refused(strata, base):
    strata("run", "--output", "/out", "base", "--", "true").fails(125, "--output", "hint:", "--capture")


def test_the_same_output_twice_is_refused(strata, base, tmp_path):
    options = ("--output", f"/out={tmp_path}/a", "--output", f"/out={tmp_path}/b")
    strata("run", *options, "base", "--", "true").fails(125, "--output", "twice")


def test_an_output_has_one_receiver(strata, base, tmp_path):
    options = ("--output", f"/out={tmp_path}/a", "--capture", "x")
    strata("run", *options, "base", "--", "true").fails(125, "--output", "--capture")


# --- --output with --capture ---------------------------------------------------------------------------


def test_the_content_of_the_output_becomes_the_layer(strata, base):
    done = strata.sh("mkdir -p /out/usr/bin; echo x > /out/usr/bin/f; echo lost > /lost",
                     options=("--output", "/out", "--capture", "app"))
    done.ok()
    assert strata("run", "base", "app", "--", "cat", "/usr/bin/f").ok().out == "x"
    assert strata("run", "base", "app", "--", "ls", "/").ok().out == strata("run", "base", "--", "ls", "/").ok().out


def test_the_same_output_gives_the_same_layer(strata, base):
    options = ("--output", "/out", "--mtime", "0")
    for ref in ("one", "two"):
        strata.sh("echo x > /out/f; mkdir /out/d", options=(*options, "--capture", ref)).ok()
    one, two = (strata("show", "--json", ref).json()["id"] for ref in ("one", "two"))
    assert one == two


def test_it_is_the_layer_that_import_makes_of_the_same_directory(strata, base, tmp_path):
    script = "mkdir /out/d; echo x > /out/d/f; ln -s f /out/d/l; ln /out/d/f /out/d/h"
    strata.sh(script, options=("--output", f"/out={tmp_path}/result")).ok()
    imported = strata("import", "--mtime", "7", tmp_path / "result").ok().out
    strata.sh(script, options=("--output", "/out", "--capture", "app", "--mtime", "7")).ok()
    assert strata("show", "--json", "app").json()["id"] == imported


def test_no_layer_is_made_when_the_command_fails(strata, base):
    strata.sh("echo x > /out/f; exit 3", options=("--output", "/out", "--capture", "app")).fails(3, "nothing is kept")
    strata("show", "app").fails(None, "app")
