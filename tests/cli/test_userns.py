"""--userns: one id, or also the subordinate ones of /etc/subuid, so that chown and dropping privileges are real.

As root the range is 0 to 65535 as they are; an ordinary user needs newuidmap and a line in /etc/subuid.
"""

import os
import shutil
import subprocess
import time

import pytest
from archives import Dir, File, write_tar

ROOT = os.geteuid() == 0
SUBUID = ("--userns", "subuid")
SINGLE = ("--userns", "single")
OWNERS = "stat -c '%u:%g %n' /srv/owned /srv/owned/file /srv/plain"


def in_namespace(strata, script, *args, env=None):
    """Runs `strata ARGS...` after `script`, which may mount, in a namespace of the test's own."""
    outer = ["unshare", "--mount"] if ROOT else ["unshare", "--map-root-user", "--mount"]
    # Out of the user namespace in which we may mount there is no way back; but the own id can be had again.
    inner = "exec " if ROOT else f"exec unshare --user --map-user={os.geteuid()} --map-group={os.getegid()} "
    command = [*outer, "/bin/sh", "-c", f'{script}\n{inner}"$@"', "sh", *strata.command(*args)]
    return subprocess.run(
        command, capture_output=True, text=True, env=strata.environment(env), cwd=strata.home, timeout=300,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def owned(strata, base, layer):
    """A layer over `base` in which some things belong to 42:43."""
    return layer("owned", {
        "srv": None, "srv/owned": Dir(uid=42, gid=43, mode=0o700), "srv/owned/file": File("x", uid=42, gid=43),
        "srv/plain": "y",
    })  # fmt: skip


@pytest.fixture
def broken_path(tmp_path):
    """A PATH whose newuidmap fails, as where it has lost its setuid bit."""
    directory = tmp_path / "broken"
    directory.mkdir()
    for name in ("newuidmap", "newgidmap"):
        (directory / name).write_text(f"#!/bin/sh\necho '{name}: write to map failed: Operation not permitted' >&2\nexit 1\n")
        (directory / name).chmod(0o755)
    return f"{directory}:/usr/bin:/bin"


# --- what a range gives ------------------------------------------------------------------------------


def test_subuid_has_a_range_of_ids(strata, base):
    done = strata.sh("cat /proc/self/uid_map /proc/self/gid_map", options=SUBUID).ok()
    assert done.out.split()[:2] == ["0", str(os.geteuid())]
    assert sum(int(line.split()[2]) for line in done.out.splitlines()) >= 2 * 65536


def test_auto_has_one_id_where_everything_is_roots(strata, base):
    assert strata.sh("cat /proc/self/uid_map").ok().out.split() == ["0", str(os.geteuid()), "1"]


def test_files_can_be_given_to_others_and_are_gone_afterwards(strata, base):
    script = "mkdir -m 700 /a /a/b && touch /a/b/c && chown -R 42:43 /a && stat -c %u:%g /a /a/b/c && id -G"
    assert strata.sh(script, options=SUBUID).ok().out.split() == ["42:43", "42:43", "0"]


def test_the_command_can_be_any_id_of_the_range(strata, base):
    script = "id -u; id -g; id -G; grep CapEff /proc/self/status; touch /f || touch /tmp/f; stat -c %u:%g /tmp/f"
    done = strata.sh(script, options=(*SUBUID, "--uid", "7", "--gid", "8")).ok()
    assert done.out.split() == ["7", "8", "8", "CapEff:", "0000000000000000", "7:8"]


def test_an_id_outside_the_range_is_refused(strata, base):
    options = (*SUBUID, "--uid", "4000000000")
    strata.sh("true", options=options).fails(125, "--userns=subuid: uid 4000000000 is not in the range of ids")
    strata.sh("true", options=(*SUBUID, "--gid", "4000000000")).fails(125, "gid 4000000000 is not")


def test_a_command_of_another_user_is_signalled_without_any_capability(strata, base):
    options = (*SUBUID, "--uid", "7", "--cap-drop", "ALL", "--timeout", "1s")
    strata("run", *options, "base", "--", "sh", "-c", "trap 'exit 3' TERM; sleep 60 & wait").fails(124, "timed out")


def test_setgroups_and_setuid_work_as_apt_uses_them(strata, base):
    script = "cat /proc/self/setgroups; setsid sh -c 'exec 3<>/dev/ptmx' && stat -c %g /dev/pts/ptmx"
    assert strata.sh(script, options=SUBUID).ok().out.split()[0] == "allow"


def test_capabilities_are_no_more_than_with_one_id(strata, base):
    caps = "grep -E 'Cap(Prm|Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status"
    assert strata.sh(caps, options=SUBUID).ok().out == strata.sh(caps, options=SINGLE).ok().out


def test_proc_is_protected_with_a_range_too(strata, base):
    why = "Read-only" if ROOT else "Permission denied"
    strata.sh("echo x > /proc/sys/kernel/core_pattern", options=SUBUID).fails(1, why)


# --- auto --------------------------------------------------------------------------------------------


def test_auto_gives_layers_their_owners(strata, owned):
    assert strata.sh(OWNERS, "base", "owned").ok().out.splitlines() == [
        "42:43 /srv/owned", "42:43 /srv/owned/file", "0:0 /srv/plain"]  # fmt: skip


def test_auto_has_one_id_where_only_directories_and_groups_are_of_others(strata, base, layer):
    layer("like-debian", {"var": None, "var/partial": Dir(uid=42), "var/shadow": File("x", gid=42)})
    done = strata.sh("cat /proc/self/uid_map", "base", "like-debian").ok()
    assert done.out.split() == ["0", str(os.geteuid()), "1"]
    assert done.stderr == ""
    assert strata.sh("false", "base", "like-debian").stderr == ""
    strata.sh("chown 7 /var/shadow", "base", "like-debian").fails(1, "other owners", "--userns=subuid")
    assert "--userns" not in strata.sh("chown 7 /var/shadow", "base", "like-debian", options=SINGLE).stderr


def test_the_ids_that_integration_commands_are_given_make_another_root(strata, base):
    command = ("--integrate", "touch /made; chown 7 /made || true")
    keys = [strata("compose", "--json", *options, *command, "base").ok().json()["key"] for options in [(), SINGLE, SUBUID]]
    assert len(set(keys)) == 3
    for options, owner in [((), "0"), (SINGLE, "0"), (SUBUID, "7")]:
        done = strata("run", *options, *command, "base", "--", "stat", "-c", "%u", "/made").ok()
        assert done.out == owner, options
    # Without commands of its own there is one root.
    assert len({strata("compose", "--json", *options, "base").ok().json()["key"] for options in [(), SINGLE, SUBUID]}) == 1


def test_single_shows_all_as_the_callers(strata, owned):
    out = strata.sh(OWNERS, "base", "owned", options=SINGLE).ok().out
    assert [line.split()[0] for line in out.splitlines()] == ["0:0"] * 3


def test_auto_without_newuidmap_is_single_and_says_so_when_the_command_fails(strata, owned):
    env = {"PATH": "/nonexistent"}
    if ROOT:  # needs none
        assert strata.sh(OWNERS, "base", "owned", env=env).ok().out.startswith("42:43")
        return
    done = strata.sh(OWNERS, "base", "owned", env=env).ok()
    assert done.out.startswith("0:0") and done.stderr == ""
    done = strata.sh("chown 1 /srv/plain", "base", "owned", env=env).fails(1, "had one owner: newuidmap: not found in PATH")
    assert "hint: " in done.stderr and "apt install uidmap" in done.stderr and "/etc/subuid" in done.stderr


def test_subuid_without_newuidmap_is_an_error(strata, base):
    done = strata.sh("true", options=SUBUID, env={"PATH": "/nonexistent"})
    if ROOT:
        done.ok()
    else:
        done.fails(125, "--userns=subuid: newuidmap: not found in PATH", "hint: ", "uidmap", "/etc/subuid")


def test_auto_does_with_one_id_where_newuidmap_fails(strata, owned, broken_path):
    if ROOT:
        strata.sh("true", "base", "owned", env={"PATH": broken_path}).ok()
        return
    done = strata.sh(OWNERS, "base", "owned", env={"PATH": broken_path}).ok()
    assert done.out.startswith("0:0")
    strata.sh("false", "base", "owned", env={"PATH": broken_path}).fails(
        1, "newuidmap: write to map failed: Operation not permitted", "hint: newuidmap must be setuid root")


def test_subuid_where_newuidmap_fails_is_an_error(strata, base, broken_path):
    done = strata.sh("true", options=SUBUID, env={"PATH": broken_path})
    if ROOT:
        done.ok()
    else:
        done.fails(125, "newuidmap: write to map failed: Operation not permitted", "strata doctor")


def test_a_user_without_a_line_is_told_which(strata, owned, tmp_path):
    (tmp_path / "none").write_text("somebody-else:100000:65536\n")
    hide = f"mount --bind {tmp_path}/none /etc/subuid"
    done = in_namespace(strata, hide, "run", *SUBUID, "base", "--", "true")
    if ROOT:  # has the ids anyway
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 125
    assert "strata: --userns=subuid: /etc/subuid has no range for " in done.stderr
    assert ":100000:65536, of ids that nobody else has, in /etc/subuid" in done.stderr
    done = in_namespace(strata, hide, "run", "base", "owned", "--", "sh", "-c", OWNERS)
    assert (done.returncode, done.stdout[:3], done.stderr) == (0, "0:0", "")


def test_root_of_a_namespace_with_one_id_has_no_range(strata, owned):
    inside = ["unshare", "--user", "--map-root-user"]
    call = {"capture_output": True, "text": True, "env": strata.environment(), "cwd": strata.home}
    done = subprocess.run([*inside, *strata.command("run", *SUBUID, "base", "--", "true")], **call)
    assert done.returncode == 125
    assert "--userns=subuid: this user namespace has one id only" in done.stderr
    done = subprocess.run([*inside, *strata.command("run", "base", "owned", "--", "sh", "-c", OWNERS)], **call)
    assert (done.returncode, done.stdout[:3]) == (0, "0:0"), done.stderr


def test_no_new_privs_is_named(strata, base):
    if ROOT:
        return
    done = subprocess.run(
        ["setpriv", "--no-new-privs", *strata.command("run", *SUBUID, "base", "--", "true")],
        capture_output=True, text=True, env=strata.environment(), cwd=strata.home,
    )  # fmt: skip
    assert done.returncode == 125 and "no_new_privs is set" in done.stderr


# --- what stays: captures, workspaces, outputs, leftovers ---------------------------------------------


def test_a_capture_has_the_owners_and_is_staged_with_them(strata, base):
    options = (*SUBUID, "--mtime", "1600000000", "--capture", "made")
    strata.sh("mkdir -p /opt/d && echo x > /opt/d/f && chown -R 42:43 /opt/d && chown 1 /opt", options=options).ok()
    text = strata("files", "-l", "made").ok().stdout
    assert "42" in text and "43" in text
    done = strata.sh("stat -c %u:%g /opt /opt/d /opt/d/f", "base", "made").ok()
    assert done.out.split() == ["1:0", "42:43", "42:43"]


def test_the_id_of_a_capture_does_not_depend_on_who_makes_it(strata, base):
    """As root and as an ordinary user: the constant is what holds them together."""
    options = (*SUBUID, "--mtime", "1600000000", "--capture", "made")
    strata.sh("umask 022; mkdir -p /opt/d && echo x > /opt/d/f && chown -R 42:43 /opt/d", options=options).ok()
    made = strata("show", "--json", "made").json()["id"]
    tar = write_tar(strata.tmp / "same.tar", {
        "opt": Dir(0o755), "opt/d": Dir(0o755, uid=42, gid=43), "opt/d/f": File("x\n", uid=42, gid=43),
    })  # fmt: skip
    assert strata("import", tar).ok().out == made
    tar.unlink()


def test_the_root_itself_may_be_given_away(strata, base):
    strata.sh("chown 5:5 / && touch /x", options=(*SUBUID, "--capture", "made")).ok()
    assert "x" in strata("files", "made").ok().stdout


def test_an_output_is_delivered_as_the_callers(strata, base, tmp_path):
    options = (*SUBUID, "--output", f"/out={tmp_path}/out")
    strata.sh("mkdir -m 700 /out/d && echo x > /out/d/f && chown -R 42:43 /out", options=options).ok()
    for path in (tmp_path / "out", tmp_path / "out/d", tmp_path / "out/d/f"):
        assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())
    shutil.rmtree(tmp_path / "out")


def test_a_workspace_keeps_its_owners(strata, base):
    options = (*SUBUID, "--workspace", "w")
    strata.sh("mkdir /d && touch /d/f && chown -R 42:43 /d", options=options).ok()
    assert strata.sh("stat -c %u:%g /d/f; rm -r /d", options=options).ok().out == "42:43"


def test_a_workspace_of_several_owners_is_not_for_one_id(strata, base):
    strata.sh("touch /f && chown 42 /f", options=(*SUBUID, "--workspace", "w")).ok()
    strata.sh("true", options=("--workspace", "w")).fails(125, "workspace w: it may have", "hint: --userns=subuid")
    strata.sh("true", options=("--workspace", "one")).ok()
    strata.sh("true", options=(*SUBUID, "--workspace", "one")).ok()


def test_what_is_kept_for_several_owners_is_removed(strata, base, store):
    options = (*SUBUID, "--workspace", "w", "--cache", "c:/c")
    script = "mkdir -m 700 /d /c/d && touch /d/f /c/d/f && chown -R 42:43 /d /c && chmod 0 /d /c"
    strata.sh(script, options=options).ok()
    assert [entry["name"] for entry in strata("list", "--json", "caches").json()] == ["c"]
    strata("rm", "--workspace", "w", "--cache", "c").ok()
    assert [list((store / place).iterdir()) for place in ("workspaces", "caches", "trash")] == [[], [], []]


def test_what_failed_is_kept_with_its_owners(strata, base):
    done = strata.sh("touch /f && chown 42 /f; false", options=(*SUBUID, "--keep-failed")).fails(1, "look at what failed")
    assert "--userns subuid" in done.stderr
    name = done.stderr.split("--workspace ")[1].split()[0]
    assert strata.sh("stat -c %u /f", options=(*SUBUID, "--workspace", name)).ok().out == "42"


def test_gc_removes_what_a_killed_run_left(strata, base, store):
    script = "mkdir -m 700 /a && touch /a/b && chown -R 42:43 /a; echo ready; sleep 60"
    process = strata.start("run", *SUBUID, "base", "--", "sh", "-c", script, text=True)
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 120
    while any((store / "stages").glob("*/upper/a")) and time.monotonic() < deadline:
        strata("gc", "--all").ok()
    assert not list((store / "stages").glob("*/upper/a"))


def test_what_a_killed_run_left_is_removed_by_the_next(strata, base, store):
    script = "mkdir -m 700 /a /a/b && touch /a/b/c && chown -R 42:43 /a; echo ready; sleep 60"
    process = strata.start("run", *SUBUID, "base", "--", "sh", "-c", script, text=True)
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 120  # the lock goes with the last process of the sandbox
    while any((store / "stages").glob("*/upper/a")) and time.monotonic() < deadline:
        strata.sh("true").ok()
    assert not list((store / "stages").glob("*/upper/*"))


# --- one id ------------------------------------------------------------------------------------------


def test_a_release_tarball_with_foreign_owners_unpacks_with_chown_ignore(strata, base, tmp_path):
    write_tar(tmp_path / "release.tar", {
        "app-1.0": Dir(uid=1000, gid=1000), "app-1.0/configure": File("#!/bin/sh\n", 0o755, uid=1000, gid=1000),
    })  # fmt: skip
    # The host's own tar, on its libraries: busybox's does not care whether chown works.
    host = ("--bind", f"{tmp_path}:/in:ro", "--bind", "/usr:/usr:ro", "--bind", "/lib:/lib:ro", "--bind", "/lib64:/lib64:ro")
    script = "/usr/bin/tar --same-owner -xf /in/release.tar -C /tmp && stat -c %u:%g /tmp/app-1.0/configure"
    strata.sh(script, options=(*SINGLE, *host)).fails(2, "Cannot change ownership")
    done = strata.sh(script, options=(*SINGLE, *host, "--chown", "ignore")).ok()
    assert done.out == "0:0"


# --- other commands ----------------------------------------------------------------------------------


def test_integration_commands_have_the_ids_of_the_layers(strata, owned):
    options = ("--integrate", "chown 7:8 /srv/plain")
    done = strata("compose", *options, *SINGLE, "base", "owned").fails(1, "integrate: chown 7:8 /srv/plain: exited")
    strata("compose", *options, "base", "owned").ok()
    assert strata.sh("stat -c %u:%g /srv/plain", "base", "owned", options=options).ok().out == "7:8"
    assert "had one owner" not in done.stderr


def test_userns_is_one_of_three(strata, base):
    for command in (("run", "--userns", "many", "base", "--", "true"), ("compose", "--userns", "many", "base")):
        strata(*command).fails(None, "--userns")
