"""gc and du, pin and unpin."""

import os
import subprocess
import time

import pytest
import waiting

HOUR = 3600


def age(store, id, hours=2):
    """Makes a layer as old as that."""
    then = time.time() - hours * HOUR
    for path in (store / "layers" / id, store / "layers" / id / "manifest"):
        os.utime(path, (then, then))


@pytest.fixture
def unnamed(strata, store, make_tar):
    """An old layer that nothing needs."""
    id = strata("import", make_tar("u.tar", {"x": "1" * 5000})).ok().out
    age(store, id)
    return id


def test_gc_removes_what_has_no_name(strata, store, layer, unnamed):
    kept = layer("kept", {"y": "2"})
    age(store, kept)
    report = strata("gc").ok().out
    assert f"removed layer {unnamed[:12]}\n" in report and "freed " in report
    assert [entry["id"] for entry in strata("list", "--json").json()] == [kept]
    assert strata("gc").ok().out == "freed 0 B"


def test_gc_spares_what_is_young_unless_all(strata, make_tar):
    id = strata("import", make_tar("u.tar", {"x": "1"})).ok().out
    assert strata("gc", "--json").json()["layers"] == []
    assert strata("gc", "--json", "--all").json()["layers"] == [id]


def test_gc_dry_run_removes_nothing(strata, store, unnamed):
    report = strata("gc", "--dry-run").ok().out
    assert f"would remove layer {unnamed[:12]}\nwould free " in report
    report = strata("gc", "--dry-run", "--json").json()
    assert report["dry_run"] and report["layers"] == [unnamed] and report["freed_bytes"] > 5000
    assert (store / "layers" / unnamed).is_dir()


def test_a_pin_keeps_what_has_no_name(strata, store, unnamed):
    assert strata("pin", unnamed[:8]).ok().stdout == ""
    assert (store / "pins" / unnamed).read_bytes() == b""
    assert strata("gc", "--json", "--all").json()["layers"] == []
    (entry,) = strata("list", "--json").json()
    assert entry["pinned"] and entry["refs"] == []
    assert strata("list").ok().out.endswith("  (pinned)")
    assert "refs      (pinned)\n" in strata("show", unnamed).ok().out
    strata("rm", unnamed).fails(1, f"layer {unnamed[:12]} has a pin\n", f"hint: strata unpin {unnamed[:12]}\n")
    assert strata("unpin", "--json", unnamed).json() == {"unpinned": [unnamed]}
    strata("unpin", unnamed).fails(1, f"layer {unnamed[:12]} is not pinned")
    assert strata("gc", "--json", "--all").json()["layers"] == [unnamed]


def test_a_misspelt_name_pins_nothing(strata, unnamed):
    strata("pin", unnamed, "nothing").fails(1, "no layer or ref named nothing")
    assert not strata("list", "--json").json()[0]["pinned"]


def test_a_running_sandbox_keeps_its_layers(strata, store, base):
    run = strata.start("run", base, "--", "/bin/sh", "-c", "echo up; read x; ls /bin", stdin=-1)
    assert run.stdout.readline() == b"up\n"
    strata("untag", "base").ok()
    age(store, base)
    assert strata("gc", "--all", "--json").json()["layers"] == []
    out, _ = run.communicate(b"\n")
    assert b"busybox" in out and run.returncode == 0
    assert strata("gc", "--all", "--json").json()["layers"] == [base]


def test_max_size_says_when_it_cannot_get_there(strata, layer):
    layer("kept", {"x": "1" * 100000})
    result = strata("gc", "--max-size", "10K").ok()
    assert "strata: warning: the store takes " in result.stderr and "more than the 10 KB it may" in result.stderr
    report = strata("gc", "--quiet", "--json", "--max-size", "10K").json()
    assert report["store_bytes"] > report["max_bytes"] == 10240
    assert strata("gc", "--max-size", "1G").ok().stderr == ""
    strata("gc", "--max-size", "big").fails(2, "--max-size: 'big' is not a size")


def test_the_configuration_makes_it_automatic(strata, store, layer, unnamed):
    (store / "config").write_text("max-size = 1K\n")
    layer("new", {"y": "2"})
    assert not (store / "layers" / unnamed).exists()


def test_a_bad_configuration_does_not_fail_an_import(strata, store, layer, make_tar):
    layer("a", {"x": "1"})
    (store / "config").write_text("max-size = 1K\nmax-age = 3\n")
    result = strata("import", make_tar("b.tar", {"y": "2"})).ok()
    assert "strata: warning: the store was not collected: " in result.stderr
    assert "/config, line 2: there is no setting 'max-age'" in result.stderr
    strata("gc").fails(2, "/config, line 2: there is no setting 'max-age'")


def test_du_tells_layers_from_the_rest(strata, store, layer, unnamed):
    layer("a", {"d": None, "d/x": "1" * 100000})
    report = strata("du", "--json").json()
    assert report["layers"]["count"] == 2 and report["layers"]["content_bytes"] == 105000
    assert report["layers"]["bytes"] > 110000
    assert 5000 < report["reclaimable_bytes"] < 40000
    parts = ("layers", "roots", "derived", "workspaces", "caches", "scratch")
    assert report["total_bytes"] == sum(report[part]["bytes"] for part in parts)
    lines = strata("du").ok().out.split("\n")
    assert [line.split("  ")[0] for line in lines] == [
        "layers", "composed roots", "derived layers", "workspaces", "caches", "scratch", "total", "gc would free",
    ]


def test_a_store_that_cannot_be_written_to_is_an_error_that_says_so(strata, store, unnamed):
    if os.geteuid() == 0:  # whom modes do not stop
        script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh", str(store), *strata.command("gc")]
        result = subprocess.run(command, env=strata.environment(), capture_output=True, text=True)
        reason = "Read-only file system"
    else:
        os.chmod(store / "layers", 0o500)
        result = strata("gc")
        os.chmod(store / "layers", 0o700)
        reason = "Permission denied"
    assert result.returncode == 1
    assert f"strata: collect layers: rename layers/{unnamed}: {reason}\n" in result.stderr
    assert (store / "layers" / unnamed).is_dir()


def test_after_gc_all_rm_removes_a_store(strata, store, base):
    """Though a sandbox that was killed leaves a directory of overlayfs that its owner may not read."""
    strata("run", "--workspace", "w", "--cache", "c:/c", "base", "--", "touch", "/c/x", "/y").ok()
    killed = strata.start("run", "base", "--", "sh", "-c", "echo up; exec sleep 600", stdout=subprocess.PIPE)
    waiting.read_until(killed, b"up")
    killed.kill()
    killed.communicate()

    def collected():
        strata("gc", "--all").ok()
        return not os.listdir(store / "stages")

    strata("rm", "--workspace", "w", "--cache", "c").ok()
    waiting.until(collected, "gc to find the sandbox dead")
    subprocess.run(["rm", "-rf", store], check=True)
