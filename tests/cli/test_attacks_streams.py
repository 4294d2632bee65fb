"""Descriptors that are handed in: standard streams, and whatever else the caller had open."""

import os
import stat
import subprocess

import pytest
from attacks import attack, attack_binary  # noqa: F401


@pytest.mark.parametrize("device", ["null", "zero", "full", "random", "urandom"])
def test_a_device_of_the_host_that_is_a_stream_cannot_be_changed(attack, device):
    before = os.stat(f"/dev/{device}")
    with open(f"/dev/{device}", "rb") as stream:
        # Its times anybody may set to now, outside too, who may write to it; but not uid 0 in here.
        names = ("fchmod_stream=0", "chmod_stream=0", "capability_stream=0", *(("utimes_stream=0",) if os.geteuid() == 0 else ()))
        found = attack(*names, stdin=stream)
    assert before.st_mode == os.stat(f"/dev/{device}").st_mode
    assert not [answer for answer in found.values() if answer.startswith("WORKED")], found


def test_dev_null_as_every_stream_works(strata, base):
    with open("/dev/null", "r+b", buffering=0) as null:
        done = subprocess.run(
            strata.command("run", "base", "--", "sh", "-c", "cat; echo x; echo y >&2; exit 7"),
            stdin=null, stdout=null, stderr=null, env=strata.environment(), timeout=300,
        )
    assert done.returncode == 7


def test_the_log_of_a_command_is_nobody_elses_afterwards(attack, strata, tmp_path):
    log = tmp_path / "log"
    names = ("capability_stream=1", "acl_stream=1", "chmod_stream=1", "fchmod_stream=1")
    with open(log, "wb") as stream:
        os.fchmod(stream.fileno(), 0o750)
        strata("run", *attack.layers, "--", "attack", *names, stdout=stream).ok()
    assert "WORKED" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o750
    assert [name for name in os.listxattr(log) if not name.startswith("user.")] == []


def test_a_stream_leads_to_no_directory(attack, tmp_path):
    (tmp_path / "in").write_text("x")
    with open(tmp_path / "in") as stream:
        assert attack("up_from_stream=0", stdin=stream) == {"up_from_stream=0": "ENOTDIR"}


def test_no_other_descriptor_is_handed_on(attack, tmp_path):
    fds = [os.open(tmp_path, flags) for flags in (os.O_RDONLY | os.O_DIRECTORY, os.O_PATH)]
    try:
        assert attack("descriptors", pass_fds=fds) == {"descriptors": "EBADF"}
        assert attack.outside("descriptors", pass_fds=fds)["descriptors"].startswith("WORKED")
    finally:
        for fd in fds:
            os.close(fd)


def test_a_layer_is_not_changed_by_any_way_of_writing(attack, strata, base, store):
    def lower():
        trees = [path for path in (store / "layers").rglob("*") if path.is_file() and not path.is_symlink()]
        return {path: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns, os.listxattr(path)) for path in trees}

    before = lower()
    assert attack("change_lower=/bin/busybox")["change_lower=/bin/busybox"].split()[0] == "EBADF"
    after = lower()
    assert [path for path in before if before[path] != after[path]] == []
    strata("fsck").ok()


def test_mounts_can_be_changed_only_where_they_are_the_sandboxs_own(attack, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_text("x")
    own = "change_mounts=/,/tmp,/dev,/dev/shm,/dev/pts,/rw"
    options = ("--bind", f"{tmp_path}/dir:/ro:ro", "--bind", f"{tmp_path}/file:/f:ro", "--bind", f"{tmp_path}/dir:/rw",
               "--net", "host")
    for more in ((), ("--seccomp", "none")):
        assert attack(own, options=(*options, *more)) == {own: "EROFS"}
    assert os.listdir(tmp_path / "dir") == []
