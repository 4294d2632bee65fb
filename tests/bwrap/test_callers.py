# SPDX-License-Identifier: Apache-2.0
"""The command lines of those who call bubblewrap, as they put them together."""

import json
import os
import struct

import pytest
from bwrap_call import HOST

DEVICES = [word for name in "full null urandom random zero".split() for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")]
ALLOW_ALL = struct.pack("HBBI", 6, 0, 0, 0x7FFF0000)  # BPF_RET, SECCOMP_RET_ALLOW


def buildstream_1(root, *, interactive=False, network=False, ids=(0, 0), marked=(), read_only=True, extra=()):
    """As sandbox/_sandboxbwrap.py of BuildStream 1.6 has it, without `--` before the command."""
    words = ["--setenv", "V", "1", "--unsetenv", "HOME", "--unshare-pid", "--die-with-parent", "--bind", root, "/"]
    if not network:
        words += ["--unshare-net", "--unshare-uts", "--hostname", "buildstream", "--unshare-ipc"]
    words += [*extra, "--chdir", "/buildstream/build", "--proc", "/proc", "--tmpfs", "/tmp"]
    words += ["--dev", "/dev"] if interactive else DEVICES
    if not interactive:
        words += ["--tmpfs", "/dev/shm"]
    for source, target in marked:
        words += ["--dev-bind", source, target]
    if read_only:
        words += ["--remount-ro", "/"]
    return words + ["--unshare-user", "--uid", str(ids[0]), "--gid", str(ids[1])]


@pytest.fixture
def build_root(root, tmp_path):
    """What BuildStream 1 prepares: mount points in the root, and a directory for each that is marked."""
    for name in ("dev/shm", "proc", "tmp", "buildstream/build", "buildstream-install"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in DEVICES[1::3]:
        (root / name[1:]).touch()
    for name in ("build", "install"):
        (tmp_path / name).mkdir()
    marked = ((tmp_path / "build", "/buildstream/build"), (tmp_path / "install", "/buildstream-install"))
    return root, marked, tmp_path


def test_buildstream_probes_the_version(bwrap):
    # _site.py: `bwrap --version`, the second word, three numbers, at least 0.1.8 for --die-with-parent.
    _, version = bwrap("--version").ok().out.split()
    assert [int(part) for part in version.split(".")] >= [0, 1, 8]


def test_buildstream_probes_user_namespaces(bwrap):
    # _platform/linux.py
    said = bwrap("--ro-bind", "/", "/", "--unshare-user", "--uid", "0", "--gid", "0", "whoami")
    assert said.ok().out == "root"


@pytest.mark.parametrize("ids", [(0, 0), (1000, 1000)])
def test_buildstream_1_builds(bwrap, build_root, ids):
    root, marked, tmp_path = build_root
    script = """
        set -e
        test "$(pwd)" = /buildstream/build; test "$(hostname)" = buildstream; test -z "$HOME"; test "$V" = 1
        echo built > /buildstream-install/artifact; echo x > /dev/null; echo x > /tmp/x; echo x > /dev/shm/x
        if (: > /usr/new); then exit 9; fi
        id -u; id -g
    """
    said = bwrap(*buildstream_1(root, marked=marked, ids=ids), "sh", "-c", script)
    assert said.ok().out.split() == [str(number) for number in ids]
    assert (tmp_path / "install/artifact").read_text() == "built\n"
    assert sorted(os.listdir(root / "dev")) == ["full", "null", "random", "shm", "urandom", "zero"]


def test_buildstream_1_integrates_in_a_writable_root(bwrap, build_root):
    root, _, _ = build_root
    bwrap(*buildstream_1(root, read_only=False), "sh", "-c", "echo x > /etc/ld.so.cache").ok()
    assert (root / "etc/ld.so.cache").read_text() == "x\n"


def test_buildstream_1_shell(bwrap, build_root):
    root, marked, _ = build_root
    said = bwrap(*buildstream_1(root, marked=marked, interactive=True, network=True), "sh", "-c", "echo hello; tty; exit 3")
    assert said.returncode == 3 and said.out.splitlines()[0] == "hello"


def test_buildstream_2_betas_tell_setup_from_command(bwrap, build_root):
    root, marked, _ = build_root
    for command, codes in ((("sh", "-c", "exit 7"), [7]), (("/nope",), [])):
        status = bwrap.own(os.memfd_create("status"))
        extra = ("--dir", "/buildstream/build", "--json-status-fd", status)
        said = bwrap(*buildstream_1(root, marked=marked, extra=extra), *command)
        assert said.returncode == (codes or [1])[0]
        lines = [json.loads(line) for line in os.pread(status, 4096, 0).decode().splitlines()]
        assert [line["exit-code"] for line in lines if "exit-code" in line] == codes
        assert lines[0]["child-pid"] > 1


# --- flatpak


@pytest.fixture
def flatpak(root, tmp_path):
    """An application and a runtime as flatpak deploys them: files/ and a .ref to lock."""
    usr, app = tmp_path / "runtime", tmp_path / "app"
    for path in (usr, app):
        (path / "bin").mkdir(parents=True)
        (path / ".ref").touch()
    (root / "bin/busybox").rename(usr / "bin/busybox")
    for applet in (root / "bin").iterdir():
        (usr / "bin" / applet.name).symlink_to("busybox")
    (app / "bin/hello").write_text("#!/bin/sh\necho hello from $(cat /.flatpak-info), $0\n")
    (app / "bin/hello").chmod(0o755)
    home = tmp_path / "data"
    home.mkdir()
    return usr, app, home


def flatpak_words(bwrap, flatpak, *more):
    """The words that `flatpak run` writes into a sealed memfd, in its order."""
    usr, app, home = flatpak
    run = f"/run/user/{os.getuid()}"
    words = ["--ro-bind", usr, "/usr", "--lock-file", "/usr/.ref", "--ro-bind", app, "/app", "--lock-file", "/app/.ref"]
    words += ["--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/sbin", "/sbin"]
    words += ["--unshare-user", "--disable-userns", "--unshare-pid", "--unshare-ipc", "--unshare-net", "--die-with-parent"]
    words += ["--proc", "/proc", "--dir", "/tmp", "--dir", "/var/tmp", "--dir", "/run/host", "--perms", "0700", "--dir", run]
    words += ["--setenv", "XDG_RUNTIME_DIR", run, "--symlink", "../run", "/var/run"]
    words += ["--ro-bind-try", "/sys/block", "/sys/block", "--ro-bind-try", "/sys/bus", "/sys/bus"]
    words += ["--ro-bind-try", "/sys/class", "/sys/class", "--ro-bind-try", "/no/such", "/run/host/no"]
    words += ["--dev", "/dev", "--dev-bind-try", "/dev/no-such", "/dev/no-such"]
    words += ["--ro-bind-data", bwrap.data(b"me:x:1:1::/:/bin/sh\n"), "/etc/passwd"]
    words += ["--ro-bind-data", bwrap.data(b"me:x:1:\n"), "/etc/group", "--symlink", "/usr/share/zoneinfo/UTC", "/etc/localtime"]
    words += ["--perms", "0600", "--ro-bind-data", bwrap.data(b"info"), "/.flatpak-info"]
    words += ["--perms", "0600", "--file", bwrap.data(b"info"), f"{run}/flatpak-info"]
    words += ["--bind", home, "/var/data", "--symlink", "/app/lib", f"{run}/lib", "--setenv", "HOME", "/var/data"]
    words += ["--clearenv", "--setenv", "PATH", "/app/bin:/usr/bin", "--setenv", "container", "flatpak"]
    words += ["--seccomp", bwrap.data(ALLOW_ALL), "--cap-drop", "ALL", "--chdir", "/var/data", *more]
    descriptors = [word for word in words if isinstance(word, int)]
    packed = b"".join(os.fsencode(str(word)) + b"\0" for word in words)
    return ("--args", bwrap.data(packed)), descriptors


def test_flatpak_runs_an_application(bwrap, flatpak):
    info = bwrap.own(os.memfd_create("info"))
    sync, write = bwrap.pipe()
    words, fds = flatpak_words(bwrap, flatpak, "--info-fd", info, "--sync-fd", write)
    said = bwrap(*words, "--", "hello", pass_fds=fds)
    assert said.ok().out == "hello from info, /app/bin/hello"
    assert set(json.loads(os.pread(info, 4096, 0))) == {
        "child-pid", "ipc-namespace", "mnt-namespace", "net-namespace", "pid-namespace",
    }  # fmt: skip
    bwrap.close(write)
    assert os.read(sync, 1) == b""


def test_flatpaks_root_is_its_own_and_read_only_where_it_should_be(bwrap, flatpak):
    words, fds = flatpak_words(bwrap, flatpak)
    script = """
        ls / /etc; stat -c %a /.flatpak-info /run/user/*; cat /etc/passwd; env | sort
        for i in /usr /app /etc/passwd; do if (: > $i/x) 2> /var/data/err; then echo wrote $i; fi; done
    """
    lines = bwrap(*words, "--", "sh", "-c", script, pass_fds=fds).ok().out.splitlines()
    assert "wrote" not in " ".join(lines)
    assert {"app", "bin", "dev", "etc", "lib", "proc", "run", "sbin", "sys", "tmp", "usr", "var"} <= set(lines)
    assert "600" in lines and "700" in lines and "me:x:1:1::/:/bin/sh" in lines
    assert lines[-4:] == ["PATH=/app/bin:/usr/bin", "PWD=/var/data", "SHLVL=1", "container=flatpak"]


def test_flatpak_probes_the_version_with_nothing_else(bwrap):
    assert bwrap("--version", env={"PATH": None, "HOME": None}, cwd="/").ok().stderr == ""


# --- others


def usual(root):
    return ["--ro-bind", "/usr", "/usr", *(word for name in ("bin", "lib", "lib64", "sbin") for word in ("--symlink", f"usr/{name}", f"/{name}"))]


def test_opam(bwrap, root, tmp_path):
    """bwrap.sh: a whole read-only system and a few writable directories, no network."""
    (tmp_path / "switch").mkdir()
    words = ["--unshare-net", "--new-session", "--proc", "/proc", "--dev", "/dev", "--bind", tmp_path / "tmp", "/tmp"]
    words += ["--setenv", "TMPDIR", "/tmp", "--setenv", "TMP", "/tmp", "--setenv", "TEMPDIR", "/tmp", "--tmpfs", "/run"]
    words += [*usual(root), "--ro-bind", "/etc", "/etc", "--bind", tmp_path / "switch", tmp_path / "switch"]
    words += ["--symlink", "/nowhere", "/opt/link"]
    script = f"set -e; touch {tmp_path}/switch/installed /tmp/x; rm /tmp/x; ! touch /usr/x 2> /dev/null; echo $TMPDIR"
    assert bwrap(*words, "sh", "-c", script).ok().out == "/tmp"
    assert (tmp_path / "switch/installed").exists()


def test_xbps_src(bwrap, root, tmp_path):
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("void-packages", "tmp", "proc", "dev"):
        (root / name).mkdir()
    rest = ["--dev-bind", packages, "/void-packages", "--dev", "/dev", "--tmpfs", "/tmp", "--proc", "/proc"]
    bwrap("--dev-bind", root, "/", *rest, "sh", "-c", "echo built > /void-packages/x; echo x > /installed").ok()
    assert (packages / "x").exists() and (root / "installed").exists()
    # The master directory as the lower layer of a temporary one.
    upper, work = tmp_path / "upper", tmp_path / "work"
    upper.mkdir(), work.mkdir()
    for kind in (("--tmp-overlay", "/"), ("--overlay", upper, work, "/")):
        bwrap("--overlay-src", root, *kind, *rest, "sh", "-c", "echo x > /temporary; test -e /installed").ok()
    assert not (root / "temporary").exists() and (upper / "temporary").exists()
    (work / "work").chmod(0o700)


def test_melange(bwrap, root, tmp_path):
    (tmp_path / "workspace").mkdir()
    words = ["--bind", root, "/", "--bind", tmp_path / "workspace", "/home/build", "--unshare-pid", "--die-with-parent"]
    words += ["--dev", "/dev", "--proc", "/proc", "--chdir", "/home/build", "--clearenv", "--new-session", "--unshare-net"]
    words += ["--setenv", "SOURCE_DATE_EPOCH", "0", "--setenv", "PATH", "/bin"]
    said = bwrap(*words, "/bin/sh", "-c", "echo $SOURCE_DATE_EPOCH > out; exit 4")
    assert said.returncode == 4, said._told()
    assert (tmp_path / "workspace/out").read_text() == "0\n"


def test_coding_agents(bwrap, tree):
    """The host read-only, one directory writable, files masked by /dev/null."""
    words = ["--new-session", "--die-with-parent", "--ro-bind", "/", "/", "--bind", tree, tree, "--dev", "/dev"]
    words += ["--ro-bind", "/dev/null", tree / "sub/below", "--ro-bind", tree / "file", tree / "file"]
    words += ["--unshare-net", "--unshare-pid", "--proc", "/proc"]
    script = f"cat {tree}/sub/below; touch {tree}/new; touch {tree}/file 2>&- || echo refused; touch /usr/x 2>&- || echo refused"
    assert bwrap(*words, "--", "sh", "-c", script).ok().out.splitlines() == ["refused", "refused"]


def test_thumbnailer(bwrap, root):
    """libgnome-desktop: its own /tmp, and a seccomp program."""
    words = ["--ro-bind", "/usr", "/usr", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", *usual(root)[3:]]
    words += ["--proc", "/proc", "--dev", "/dev", "--chdir", "/", "--setenv", "GIO_USE_VFS", "local", "--unshare-all"]
    words += ["--die-with-parent", "--bind", root, "/tmp", "--seccomp", bwrap.data(ALLOW_ALL)]
    assert bwrap(*words, "ls", "/tmp/etc").ok().out.splitlines() == ["group", "passwd"]


def test_a_sandbox_in_a_sandbox(bwrap):
    inner = ("/proc/self/exe", "--unshare-user", "--dev-bind", "/", "/", "--tmpfs", "/tmp", "echo", "deep")
    said = bwrap(*HOST, "--unshare-user", "--unshare-pid", "--proc", "/proc", "--dev", "/dev", *inner)
    assert said.ok().out == "deep"
