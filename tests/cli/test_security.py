"""What a hostile layer, source tree or command may not do to the host, and to the next run."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

import pytest

from archives import Hardlink, Symlink, base_entries


def listing(directory):
    return sorted(path.name for path in directory.rglob("*"))


# --- mount points ------------------------------------------------------------------------------------


def test_a_link_in_a_layer_cannot_make_a_mount_point_on_the_host(strata, base, layer, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("seen\n")
    # Not below /tmp, where the sandbox has a tmpfs of its own in the way.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as victim:
        layer("link", {"a": Symlink(victim)})
        options = ("--tmpfs", "/a/b", "--bind", f"{source}:/a/b/c")
        assert strata.sh("cat /a/b/c/file", "base", "link", options=options).ok().out == "seen"
        assert listing(Path(victim)) == []


@pytest.mark.parametrize("target", ["{victim}", "../victim", "/proc/self/cwd/../victim"])
def test_a_link_in_a_bound_directory_cannot_make_a_mount_point_on_the_host(strata, base, tmp_path, target):
    victim, source = tmp_path / "victim", tmp_path / "source"
    victim.mkdir()
    source.mkdir()
    (source / "x").symlink_to(target.format(victim=victim))
    options = ("--bind", f"{source}:/tmp/src", "--bind", f"{victim}:/tmp/src/x/new")
    strata.sh("true", options=options).fails(125, "/tmp/src/x/new")
    assert listing(victim) == []


def test_what_the_host_mounts_later_does_not_appear_in_a_read_only_bind(strata, base, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    # In a mount namespace of our own, where everybody may mount.
    command = strata.command(
        "run", "--bind", f"{shared}:/s:ro", "base", "--",
        "sh", "-c", "echo up; read go; grep ' /s' /proc/self/mountinfo | wc -l; echo x >/s/sub/new",
    )
    script = f"""
        mount -t tmpfs t {shared} && mount --make-shared {shared} && mkdir {shared}/sub || exit 9
        mkfifo {tmp_path}/go
        {shlex.join(command)} <{tmp_path}/go | {{
            exec 3>{tmp_path}/go
            read up; mount -t tmpfs t {shared}/sub || exit 8
            echo go >&3; cat
        }}
        ls {shared}/sub
    """
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-c", script],
        env=strata.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
    )
    assert done.stdout == "1\n", done.stderr


# --- /proc and /dev, where uid 0 of the sandbox is the host's ----------------------------------------


@pytest.mark.parametrize("options", [(), ("--nested-userns",)])
def test_the_modes_of_the_machines_files_in_proc_cannot_be_changed(strata, base, options):
    # They are the same in every procfs. Each gets the mode that it has.
    script = "cd /proc; for f in [a-z]*; do [ -h $f ] || { chmod $(stat -c %a $f) $f && echo $f; }; done"
    assert strata.sh(script, options=options).stdout == ""


@pytest.mark.parametrize("device", ["null", "zero", "full", "random", "urandom", "tty"])
def test_a_device_of_the_host_cannot_be_changed_but_used(strata, base, device):
    script = f"chmod 666 /dev/{device}; touch /dev/{device}; chown 0:0 /dev/{device}"
    refused = strata.sh(script).stderr.splitlines()
    assert len(refused) >= 2 and all("/dev/" + device in line for line in refused)
    if device != "tty":  # there is none
        strata.sh(f": <> /dev/{device}; : >> /dev/{device}").ok()


def test_nested_user_namespaces_can_still_be_set_up(strata, base):
    script = "unshare -r sh -c 'id -u'"
    assert strata.sh(script, options=("--nested-userns", "--uid", "7", "--gid", "7")).ok().out == "0"


# --- what a command leaves in its output -------------------------------------------------------------


@pytest.mark.parametrize("mode", ["000", "555", "1777"])
def test_an_output_directory_of_any_mode_is_delivered_and_captured(strata, base, tmp_path, mode):
    script = f"echo x >/out/f; chmod {mode} /out"
    strata.sh(script, options=("--output", f"/out={tmp_path}/result")).ok()
    assert oct((tmp_path / "result").stat().st_mode & 0o7777) == oct(int(mode, 8))
    os.chmod(tmp_path / "result", 0o700)
    assert listing(tmp_path / "result") == ["f"]
    strata.sh(script, options=("--output", "/out", "--capture", "made")).ok()
    assert strata("files", "made").ok().out.split() == ["f"]


def test_a_root_without_write_permission_is_captured(strata, base):
    strata.sh("echo x >/f; chmod 555 /", options=("--capture", "made")).ok()
    assert strata("files", "made").ok().out.split() == ["f"]


def test_setuid_bits_do_not_leave_the_sandbox(strata, base, tmp_path):
    script = (
        "mkdir -p /out/d/shut; cp /bin/busybox /out/d/shut/su; chmod 6755 /out/d/shut/su;"
        "cp /bin/busybox /out/g; chmod 2711 /out/g; chmod 3777 /out/d; chmod 0 /out/d/shut; chmod 6755 /out"
    )
    done = strata.sh(script, options=("--output", f"/out={tmp_path}/result")).ok()
    assert "2 files lost" in done.stderr
    modes = {}
    for name in (".", "g", "d", "d/shut"):
        path = tmp_path / "result" / name
        modes[name] = oct(path.stat().st_mode & 0o7777)
        path.chmod(0o700)
    modes["su"] = oct((tmp_path / "result/d/shut/su").stat().st_mode & 0o7777)
    assert modes == {".": "0o755", "g": "0o711", "d": "0o1777", "d/shut": "0o0", "su": "0o755"}


def python_options():
    """The options that show this Python to a sandbox, at the paths that it has here."""
    executable = os.path.realpath(sys.executable)
    libraries = subprocess.run(["ldd", executable], capture_output=True, text=True, check=True).stdout
    options = ["--bind", f"{sys.base_prefix}:{sys.base_prefix}:ro"]
    for word in libraries.split():
        if word.startswith("/") and not word.startswith(sys.base_prefix + "/"):
            options += ["--bind", f"{os.path.realpath(word)}:{word}:ro"]
    return options


def test_capabilities_of_files_do_not_count_outside(strata, base, tmp_path):
    code = (
        "import os, shutil, struct; shutil.copy('/bin/busybox', '/out/x');"
        "os.setxattr('/out/x', 'security.capability', struct.pack('<5I', 0x02000001, 1 << 7, 0, 0, 0))"
    )
    options = ("--output", f"/out={tmp_path}/result", *python_options())
    done = strata("run", *options, "base", "--", os.path.realpath(sys.executable), "-c", code).ok()
    result = tmp_path / "result/x"
    if os.geteuid() == 0:
        assert "1 files lost" in done.stderr
        assert os.listxattr(result) == []
    else:
        # They are for the namespaces of the user who ran this: the last word, not 0, says whose.
        assert int.from_bytes(os.getxattr(result, "security.capability")[20:24], "little") == os.geteuid()


@pytest.mark.parametrize("option", ["--output", "--stats"])
def test_a_command_cannot_choose_where_results_go(strata, base, tmp_path, option):
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    (source / "build").mkdir(parents=True)
    elsewhere.mkdir()
    place = f"{source}/build/result"
    option = (option, f"/out={place}" if option == "--output" else place)
    script = f"mv /src/build /src/aside; ln -s {elsewhere} /src/build; test -d /out && echo x >/out/f || true"
    strata.sh(script, options=("--bind", f"{source}:/src", *option)).ok()
    assert listing(elsewhere) == []
    assert (source / "aside/result").exists()


def test_a_fifo_in_the_place_of_the_statistics_is_replaced(strata, base, tmp_path):
    options = ("--bind", f"{tmp_path}:/src", "--stats", f"{tmp_path}/stats.json")
    strata.sh("mkfifo /src/stats.json", options=options, timeout=300).ok()
    assert (tmp_path / "stats.json").is_file()


# --- what a layer hides ------------------------------------------------------------------------------


def test_an_opaque_root_hides_all_layers_below(strata, base, make_tar):
    entries = base_entries() | {".wh..wh..opq": "", "only": "x"}
    del entries["usr/share/greeting"]
    strata("import", "--format", "oci", "--name", "opaque", make_tar("opaque.tar", entries)).ok()
    script = "ls /usr/share; cat /only; echo new >/usr/share/greeting"
    assert strata.sh(script, "base", "opaque", options=("--capture", "made")).ok().out == "x"
    # The layer above knows of nothing below either, and still shows.
    assert strata.sh("cat /only /usr/share/greeting", "base", "opaque", "made").ok().out == "xnew"


def test_a_log_does_not_become_a_setuid_program(strata, base, tmp_path):
    with open(tmp_path / "log", "wb") as log:
        os.fchmod(log.fileno(), 0o640)
        strata("run", "base", "--", "sh", "-c", "cat /bin/busybox; chmod 6755 /proc/self/fd/1", stdout=log).ok()
    assert oct((tmp_path / "log").stat().st_mode & 0o7777) == "0o640"


# --- what a command leaves for the next run ----------------------------------------------------------


def test_inode_flags_of_the_root_do_not_reach_the_next_run(strata, base):
    # NOATIME is one that anybody may set, and that new files inherit.
    code = """if True:
        import fcntl, os, struct
        get, set, noatime = 0x80086601, 0x40086602, 0x80
        fd = os.open("/", os.O_RDONLY)
        flags = struct.unpack("<Q", fcntl.ioctl(fd, get, bytes(8)))[0]
        print(flags & noatime)
        fcntl.ioctl(fd, set, struct.pack("<Q", flags | noatime))
        print(struct.unpack("<Q", fcntl.ioctl(fd, get, bytes(8)))[0] & noatime)
    """
    command = ("run", *python_options(), "base", "--", os.path.realpath(sys.executable), "-c", code)
    strata.sh("true").ok()  # which leaves a scratch to be used again
    for _ in range(2):
        done = strata(*command)
        if "OSError" in done.stderr:
            pytest.skip("the file system of the store has no inode flags: run on ext4")
        assert done.ok().out.split() == ["0", "128"]


def test_a_command_cannot_shut_a_cache_for_ever(strata, base):
    strata.sh("echo kept >/c/f; chmod 0 /c", options=("--cache", "c:/c")).ok()
    assert strata.sh("cat /c/f", options=("--cache", "c:/c")).ok().out == "kept"


def test_a_command_cannot_give_a_cache_away_for_ever(strata, base):
    cache = ("run", "--userns=subuid", "--cache", "c:/c", "base", "--", "sh", "-c")
    strata(*cache, "echo kept > /c/f; chown 33:33 /c; chmod 700 /c").ok()
    assert strata(*cache, "cat /c/f").ok().out == "kept"


# --- a damaged store ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_manifest_is_an_error_and_nothing_worse(strata, base, layer, store, seed):
    entries = {}
    for i in range(9):
        entries |= {f"d{i}": None, f"d{i}/f": "x" * i, f"d{i}/l": Symlink("f"), f"d{i}/h": Hardlink(f"d{i}/f")}
    manifest = store / "layers" / layer("damaged", entries) / "manifest"
    whole = manifest.read_bytes()
    count = int.from_bytes(whole[20:24], "little")
    manifest.chmod(0o600)
    random = Random(seed)
    # cache/format.md: parent, first child, child count, hardlink, name, type, flags, attributes, target
    fields = ((0, 4), (4, 4), (8, 4), (12, 4), (16, 4), (20, 2), (22, 1), (23, 1), (28, 4), (32, 4), (56, 4), (60, 4))
    for _ in range(4):
        damaged = bytearray(whole)
        for offset, size in random.sample(fields, 3):
            at = 64 + 112 * random.randrange(count) + offset
            value = random.choice((0, 1, count - 1, count, 0xFFFFFFFF, random.getrandbits(32)))
            damaged[at : at + size] = (value % 256**size).to_bytes(size, "little")
        manifest.write_bytes(damaged)
        changes = "rm -rf /d3 /d5/l; echo >/d1/f; mv /d4 /d6/"
        for command in (
            ("show", "damaged"),
            ("files", "--json", "damaged"),
            ("diff", "damaged", "base"),
            ("diff", "base", "damaged"),
            ("export", "damaged", "-o", "/dev/null"),
            ("run", "--bind", "/etc:/d3/l/x", "--bind", "/etc:/d1/y/x", "base", "damaged", "--", "true"),
            ("run", "--capture", "c", "base", "damaged", "--", "sh", "-c", changes),
        ):
            assert strata(*command, timeout=300).returncode in (0, 1, 125), command
    manifest.write_bytes(whole)


def test_a_store_of_another_user_is_not_used(strata, base, store, tmp_path):
    if os.geteuid() == 0:
        os.chown(store, 65534, 65534)
    foreign = store if os.geteuid() == 0 else Path("/usr")
    strata("list", env={"STRATA_STORE": foreign}).fails(None, "belongs to another user")
    strata("run", "base", "--", "true", env={"STRATA_STORE": foreign}).fails(125, "belongs to another user")
    if os.geteuid() == 0:
        os.chown(store, 0, 0)


def test_a_new_store_is_shut_to_others_whatever_its_directory_was(strata, make_tar, tmp_path):
    place = tmp_path / "mine"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    strata("import", make_tar("a.tar", {"f": "x"}), env={"STRATA_STORE": place}).ok()
    assert oct(place.stat().st_mode & 0o7777) == "0o700"


def test_an_endless_archive_ends_the_import_with_its_end_mark(strata, base, base_tar):
    script = f"{{ cat {base_tar}; cat /dev/zero; }} | {shlex.join(strata.command('import', '-'))}"
    done = subprocess.run(
        ["sh", "-c", script], env=strata.environment(), capture_output=True, text=True, timeout=300
    )
    assert done.stdout == f"{base}\n", done.stderr


# --- strata itself -----------------------------------------------------------------------------------


def test_names_cannot_send_escape_sequences_to_the_terminal(strata, base, layer):
    layer("names", {"a\x1b[31m\u009b31m": "x"})
    assert strata("files", "names").ok().out == "a\\x1b[31m\\xc2\\x9b31m"
    strata.sh("printf '#!/no\\033\\302\\233' >/x; chmod 755 /x", options=("--capture", "script")).ok()
    done = strata("run", "base", "script", "--", "/x").fails(127, "/no\\x1b\\xc2\\x9b is missing")
    assert "\x1b" not in done.stderr


def test_a_setuid_strata_works_for_its_owner_alone(strata):
    copy = Path("/var/tmp") / f"strata-setuid-{os.getpid()}"
    copy.write_bytes(strata.binary.read_bytes())
    copy.chmod(0o4755)
    try:
        assert subprocess.run([copy, "list"], env=strata.environment(), timeout=300).returncode == 0
        if os.geteuid() == 0:  # only root can be somebody else
            other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", copy, "list"]
            done = subprocess.run(other, capture_output=True, text=True, timeout=300)
            assert done.returncode == 125 and "must not be setuid" in done.stderr
    finally:
        copy.unlink()
