"""strata doctor: on a machine that can, and with things taken away."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

REQUIRED = {"/proc", "user namespaces", "all namespaces", "new /proc", "store"}


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
        if "needs" in check:
            assert re.search(rf"         not tried without it: .*\b{re.escape(check['name'])}", text), check
        else:
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
        timeout=300,
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


# --- one cause is said once: what follows from it is named with it, and not tried

OVERLAYS = "upper in the store, lowerdir+ by path, lowerdir+ by descriptor"
OF_USER_NAMESPACES = f"all namespaces, new /proc, overlay on tmpfs, {OVERLAYS}, mount_setattr"


@pytest.fixture
def denied(strata, strata_binary):
    """denied("ENOSYS", "fsopen", ...) is what doctor says without these system calls."""
    tool = Path(os.environ.get("STRATA_DENY") or strata_binary.parents[1] / "tests/deny_syscall")

    def call(*answers_and_names):
        words = []
        for answer, name in zip(answers_and_names[::2], answers_and_names[1::2]):
            words += [str(tool), answer, name]
        return subprocess.run(
            [*words, *strata.command("doctor")], env=strata.environment(), capture_output=True, text=True, timeout=300
        )

    return call


def failures(text):
    return [line for line in text.splitlines() if line.startswith("FAILED")]


def test_a_filter_that_forbids_user_namespaces_is_one_failure(denied):
    text = denied("EPERM", "clone,clone3").stdout
    assert failures(text) == ["FAILED   user namespaces: clone with new namespaces: Operation not permitted"]
    assert f"\n         not tried without it: {OF_USER_NAMESPACES}" in text


def test_a_filter_that_forbids_mounting_is_one_failure(denied):
    text = denied("EPERM", "mount").stdout
    assert failures(text) == ["FAILED   user namespaces: mount /: Operation not permitted"]
    assert f"\n         not tried without it: {OF_USER_NAMESPACES}" in text


def test_a_kernel_without_overlays_for_users_is_one_failure(denied):
    # mount(2) with the flags that an overlay has, and no tmpfs.
    text = denied("ENOSYS", "fsopen", "EPERM", "mount:3=0").stdout
    assert len(failures(text)) == 1
    assert failures(text)[0].startswith("FAILED   overlay on tmpfs: mount overlay")
    assert (
        "\n         effect: nothing can be staged\n"
        "         fix: a kernel of 5.11 or later, with overlayfs: modprobe overlay\n"
        f"         not tried without it: {OVERLAYS}\n"
    ) in text


def test_the_older_mount_is_one_thing_missing(denied):
    text = denied("ENOSYS", "fsopen").stdout
    assert failures(text) == []
    assert "missing  lowerdir+ by path: fsopen overlay: Function not implemented\n" in text
    assert "\n         not tried without it: lowerdir+ by descriptor\n" in text


def in_chroot(strata, root, script=""):
    """doctor in a directory that has the system's programs, and what `script` mounts there; $root in it."""
    for name in ("usr", "bin", "lib", "lib64", "strata", "tmp", "proc"):
        (root / name).mkdir(parents=True)
    mounts = f"""
root="{root}"
for name in usr bin lib lib64; do
  if test -e "/$name"; then mount --rbind "/$name" "$root/$name"; fi
done
mount --bind "{strata.binary.parent}" "$root/strata"
{script}
shift
STRATA_STORE=/tmp/store exec chroot "$root" /strata/{strata.binary.name} "$@"
"""
    return in_user_namespace(strata, mounts).stdout


def test_in_a_chroot_it_says_so_once(strata, tmp_path):
    text = in_chroot(strata, tmp_path / "root", 'mount --rbind /proc "$root/proc"')
    assert failures(text) == ["FAILED   user namespaces: clone with new namespaces: Operation not permitted"]
    assert "         fix: this is a chroot, in which the kernel makes no user namespace: " in text
    assert f"\n         not tried without it: {OF_USER_NAMESPACES}" in text


def test_without_proc_it_says_so_once(strata, tmp_path):
    text = in_chroot(strata, tmp_path / "root")
    assert [line.partition(":")[0] for line in failures(text)] == ["FAILED   /proc", "FAILED   user namespaces"]
    assert (
        "         fix: mount -t proc proc /proc\n"
        "         not tried without it: store, upper in the store, free space, subordinate ids, "
        "--memory, --pids, --cpus\n"
    ) in text


def test_json_names_what_a_check_needs(strata, store):
    store.write_text("")
    found = checks(json.loads(strata("doctor", "--json").stdout))
    assert not found["store"]["ok"] and "needs" not in found["store"]
    for name in ("upper in the store", "free space"):
        assert found[name]["needs"] == "store"
        assert found[name]["detail"] == "not tried: needs store"
        assert found[name]["fix"] == "first make store work"


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
