"""--capture: what a command changed becomes a layer."""

import pytest


def paths(strata, ref):
    """The paths of a layer, as `strata files --json` has them."""
    return [entry["path"] for entry in entries(strata, ref)]


def entries(strata, ref):
    return strata("files", "--json", ref).json()


def sees(strata, script, *layers):
    return strata("run", *layers, "--", "sh", "-c", script)


def test_what_was_added_changed_and_removed_is_there_again(strata, base, layer):
    layer("more", {"opt/keep": "k", "opt/drop": "d", "opt/change": "old"})
    strata("run", "--capture", "app", "base", "more", "--", "sh", "-c",
           "echo new > /opt/new; echo changed > /opt/change; rm /opt/drop; rm -r /usr/share").ok()
    done = sees(strata, "ls /opt; cat /opt/new /opt/change; ls /usr", "base", "more", "app").ok()
    assert done.out.split() == ["change", "keep", "new", "new", "changed"]


def test_restacked_on_other_layers_it_hides_nothing_it_should_not(strata, base, layer):
    layer("one", {"opt/a": "a"})
    layer("two", {"opt/b": "b"})
    strata("run", "--capture", "app", "base", "one", "--", "sh", "-c", "echo c > /opt/c; mkdir /opt/d; rm /opt/a").ok()
    assert sees(strata, "ls /opt", "base", "two", "app").ok().out.split() == ["b", "c", "d"]
    assert sees(strata, "ls /opt", "base", "one", "two", "app").ok().out.split() == ["b", "c", "d"]


def test_a_directory_that_was_removed_and_made_anew_hides_the_old_one(strata, base, layer):
    layer("more", {"opt/d/old": "o"})
    strata("run", "--capture", "app", "base", "more", "--", "sh", "-c", "rm -r /opt/d; mkdir /opt/d; echo n > /opt/d/n").ok()
    assert sees(strata, "ls /opt/d", "base", "more", "app").ok().out == "n"


def test_a_fresh_directory_renamed_into_place_hides_nothing(strata, base, layer):
    layer("other", {"opt/d/other": "o"})
    strata.sh("mkdir -p /opt/tmp; echo x > /opt/tmp/x; mv /opt/tmp /opt/d", options=("--capture", "app")).ok()
    assert sees(strata, "ls /opt/d", "base", "other", "app").ok().out.split() == ["other", "x"]


def test_mount_points_are_not_in_it(strata, base, tmp_path):
    (tmp_path / "host").mkdir()
    (tmp_path / "host/f").write_text("")
    options = ("--capture", "app", "--bind", f"{tmp_path}/host:/a/b/src", "--bind", f"{tmp_path}/host/f:/etc/f",
               "--tmpfs", "/job", "--cache", "c:/var/cache/c")
    strata.sh("echo x > /usr/new; echo y > /tmp/y; echo z > /a/b/src/z; echo w > /job/w", options=options).ok()
    assert paths(strata, "app") == ["usr", "usr/new"]


def test_a_command_that_changes_nothing_captures_an_empty_layer(strata, base):
    strata.sh("cat /usr/share/greeting; chmod 644 /usr/share/greeting", options=("--capture", "app")).ok()
    assert paths(strata, "app") == []


def test_the_same_changes_give_the_same_layer(strata, base):
    for ref in ("one", "two"):
        strata.sh("echo x > /usr/x; mkdir /opt", options=("--capture", ref, "--mtime", "5")).ok()
    one, two = (strata("show", "--json", ref).json()["id"] for ref in ("one", "two"))
    assert one == two


def test_nothing_is_captured_when_the_command_fails(strata, base):
    strata.sh("echo x > /usr/x; exit 3", options=("--capture", "app")).fails(3, "nothing is kept", "status 3")
    strata("show", "app").fails(None, "app")


def test_nothing_is_captured_when_it_times_out(strata, base):
    strata.sh("echo x > /usr/x; sleep 1000", options=("--capture", "app", "--timeout", "0.5")).fails(124, "nothing is kept")
    strata("show", "app").fails(None, "app")


def test_capture_failed_captures_all_the_same(strata, base):
    strata.sh("echo x > /usr/x; exit 3", options=("--capture", "app", "--capture-failed")).fails(3)
    assert sees(strata, "cat /usr/x", "base", "app").ok().out == "x"


def test_a_ref_that_exists_is_moved(strata, base):
    for number in (1, 2):
        strata.sh(f"echo {number} > /usr/x", options=("--capture", "app")).ok()
    assert sees(strata, "cat /usr/x", "base", "app").ok().out == "2"


@pytest.mark.parametrize("ref", ["-x", "a//b", "..", ""])
def test_the_ref_is_checked_before_anything_runs(strata, base, ref):
    done = strata("run", f"--capture={ref}", "base", "--", "echo", "it ran")
    done.fails(125, "--capture")
    assert done.out == ""


def test_captures_what_a_workspace_gathered(strata, base):
    strata.sh("echo 1 > /usr/one", options=("--workspace", "w")).ok()
    strata.sh("echo 2 > /usr/two", options=("--workspace", "w", "--capture", "app")).ok()
    assert sees(strata, "cat /usr/one /usr/two", "base", "app").ok().out.split() == ["1", "2"]
    # And it goes on.
    assert sees(strata, "cat /usr/one /usr/two", "--workspace", "w", "base").ok().out.split() == ["1", "2"]


def test_captures_from_a_scratch_directory(strata, base, tmp_path):
    (tmp_path / "scratch").mkdir()
    strata.sh("echo 1 > /usr/one", options=("--scratch", tmp_path / "scratch", "--capture", "app")).ok()
    assert sees(strata, "cat /usr/one", "base", "app").ok().out == "1"


def test_a_tmpfs_scratch_cannot_be_captured(strata, base):
    strata("run", "--scratch", "tmpfs", "--capture", "x", "base", "--", "true").fails(125, "--scratch tmpfs", "--capture")


# --- --mtime -------------------------------------------------------------------------------------------


def mtimes(strata, script, *options, env=None):
    strata.sh(script, options=("--capture", "app", *options), env=env).ok()
    text = sees(strata, "stat -c %Y /usr/x", "base", "app").ok().out
    return int(text)


def test_mtime_keep_keeps_times(strata, base):
    assert mtimes(strata, "echo > /usr/x; touch -d @1000000000 /usr/x", "--mtime", "keep") == 1_000_000_000
    assert mtimes(strata, "echo > /usr/x; touch -d @1000000000 /usr/x") == 1_000_000_000


def test_mtime_sets_all_times(strata, base):
    assert mtimes(strata, "echo > /usr/x", "--mtime", "77") == 77


def test_source_date_epoch_is_the_default(strata, base):
    env = {"SOURCE_DATE_EPOCH": "99"}
    assert mtimes(strata, "echo > /usr/x", env=env) == 99
    assert mtimes(strata, "echo > /usr/x", "--mtime", "77", env=env) == 77
    kept = mtimes(strata, "echo > /usr/x; touch -d @1000000000 /usr/x", "--mtime", "keep", env=env)
    assert kept == 1_000_000_000


def test_a_source_date_epoch_that_is_no_time_is_refused(strata, base):
    strata("run", "base", "--", "true", env={"SOURCE_DATE_EPOCH": "today"}).fails(125, "SOURCE_DATE_EPOCH")


def test_a_captured_file_keeps_its_mode_and_setuid_is_in_the_manifest(strata, base):
    strata.sh("cp /bin/busybox /usr/su; chmod 4755 /usr/su", options=("--capture", "app")).ok()
    assert {entry["path"]: entry["mode"] for entry in entries(strata, "app")}["usr/su"] == "4755"
    assert sees(strata, "stat -c %a /usr/su", "base", "app").ok().out == "755"


def test_what_is_captured_is_owned_by_root(strata, base):
    strata.sh("echo > /usr/x", options=("--capture", "app")).ok()
    assert {(entry["uid"], entry["gid"]) for entry in entries(strata, "app")} == {(0, 0)}
