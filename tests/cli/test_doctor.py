"""strata doctor: on a machine that can, and with things taken away."""

import os
import subprocess

REQUIRED = {"user namespaces", "all namespaces", "new /proc", "store"}


def checks(report):
    return {check["name"]: check for check in report["checks"]}


def test_says_that_this_machine_can_run_sandboxes(strata):
    report = strata("doctor", "--json").json()
    assert report["can_run"] is True
    assert REQUIRED <= {check["name"] for check in report["checks"] if check["required"]}
    for check in report["checks"]:
        assert check["ok"] or (check["effect"] and check["fix"] and not check["required"]), check


def test_names_every_check_in_the_text(strata):
    report = strata("doctor", "--json").json()
    text = strata("doctor").ok().out
    for check in report["checks"]:
        assert f"{'ok' if check['ok'] else 'missing':<8} {check['name']}" in text
    assert text.endswith("\n\nstrata run can work here.")


def test_leaves_nothing_in_the_store(strata, store):
    strata("doctor").ok()
    assert list((store / "tmp").iterdir()) == []


def in_user_namespace(strata, script):
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "sh", "-euc", script, "sh", *strata.command("doctor")],
        env=strata.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_fails_where_user_namespaces_are_off(strata):
    result = in_user_namespace(
        strata, 'mount -t proc proc /proc; echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    )
    assert result.returncode == 1, result.stderr
    assert "FAILED   user namespaces: clone with new namespaces: No space left on device\n" in result.stdout
    assert "         effect: no sandbox can be made\n" in result.stdout
    assert "         fix: user namespaces are off: sysctl user.max_user_namespaces=15000\n" in result.stdout
    assert result.stdout.endswith("\nstrata run cannot work here.\n")


def test_fails_where_proc_is_masked_as_in_a_container(strata):
    result = in_user_namespace(
        strata, 'mount -t proc proc /proc; mount -t tmpfs -o ro tmpfs /proc/sys; exec "$@"'
    )
    assert result.returncode == 1, result.stderr
    assert "FAILED   new /proc: mount proc: Operation not permitted\n" in result.stdout
    assert "fix: the container masks /proc: " in result.stdout


def test_says_why_the_store_does_not_work(strata, store):
    store.write_text("")
    result = strata("doctor").fails(1)
    assert f"FAILED   store: open store {store}: open {store}: Not a directory\n" in result.stdout


def test_finds_what_is_not_in_path(strata):
    report = checks(strata("doctor", "--json", env={"PATH": "/nonexistent"}).json())
    if os.geteuid() != 0:  # root writes its maps itself
        assert report["subordinate ids"]["detail"] == "newuidmap: not found in PATH"
        assert "apt install uidmap" in report["subordinate ids"]["fix"]
    assert report["fuse-overlayfs"]["detail"] == "not installed"
    assert report["fuse-overlayfs"]["fix"] == "apt install fuse-overlayfs"
