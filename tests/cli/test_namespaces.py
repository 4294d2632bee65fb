"""What a sandbox looks like from inside: namespaces, /proc, /dev, limits, descriptors, network."""

import os
import subprocess

import pytest
from archives import Dir, Symlink

DEFAULT_CAPABILITIES = "00000000800401fb"  # design section 6: ten of them


def status_of(strata, *options):
    """/proc/self/status of a command in the sandbox, as a dictionary."""
    text = strata("run", *options, "base", "--", "cat", "/proc/self/status").ok().stdout
    return {key: value.strip() for key, value in (line.split(":", 1) for line in text.splitlines())}


def mounts_of(strata, *options, layers=("base",)):
    """{mount point: (options, type)} in the sandbox."""
    text = strata("run", *options, *layers, "--", "cat", "/proc/self/mountinfo").ok().stdout
    found = {}
    for line in text.splitlines():
        fields = line.split()
        found[fields[4]] = (fields[5].split(","), fields[fields.index("-") + 1])
    return found


def test_every_namespace_is_a_new_one(strata, base):
    names = ["user", "mnt", "pid", "ipc", "uts", "net", "cgroup"]
    script = "for n in " + " ".join(names) + "; do readlink /proc/self/ns/$n; done"
    inside = strata.sh(script).ok().out.split()
    assert len(inside) == len(names)
    outside = [os.readlink(f"/proc/self/ns/{name}") for name in names]
    assert set(inside) & set(outside) == set()


def test_proc_shows_only_the_sandbox(strata, base):
    # pid 1, the shell, and the ls in a subshell or of its own.
    pids = strata.sh("cd /proc; echo [0-9]*; ls -d [0-9]*").ok().out.splitlines()
    assert pids[0].split() == ["1", "2"]
    assert set(pids[1:]) <= {"1", "2", "3", "4"}


@pytest.mark.parametrize("door", ["root/", "cwd/"])
def test_a_directory_of_pid_1_in_proc_is_shut(strata, base, door):
    strata("run", "base", "--", "ls", f"/proc/1/{door}").fails(1, "ermission denied")


@pytest.mark.parametrize("file", ["environ", "mem", "maps", "auxv"])
def test_the_memory_of_pid_1_is_shut(strata, base, file):
    strata("run", "base", "--", "head", "-c", "1", f"/proc/1/{file}").fails(1, "ermission denied")


def test_no_descriptor_of_pid_1_can_be_followed(strata, base):
    # uid 0 of the host may see their numbers, nobody what they lead to.
    script = "for n in 0 1 2 3 4 5 6 7 8 9; do readlink /proc/1/fd/$n; ls /proc/1/fd/$n/; done"
    assert strata.sh(script).stdout == ""
    assert strata("run", "base", "--", "readlink", "/proc/1/exe").stdout == ""


def test_dev_is_minimal(strata, base):
    done = strata("run", "base", "--", "ls", "/dev").ok()
    assert done.out.split() == (
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    )


def test_devices_work(strata, base):
    script = """
    head -c 4 /dev/zero | wc -c
    head -c 4 /dev/urandom | wc -c
    echo x > /dev/null
    echo x > /dev/full
    echo $?
    stat -c %a /dev/shm /dev/null
    echo via-link > /dev/stdout
    echo shm > /dev/shm/x && cat /dev/shm/x
    """
    done = strata.sh(script).ok()
    assert done.out.split() == ["4", "4", "1", "1777", "666", "via-link", "shm"]


def test_a_device_of_a_layer_cannot_be_opened(strata, base):
    assert "nodev" in mounts_of(strata)["/"][0]
    assert "nosuid" in mounts_of(strata)["/"][0]


def test_the_mounts_are_these_and_no_others(strata, base):
    found = mounts_of(strata)
    expected = {"/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/tmp"}
    expected |= {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")}
    others = {path for path in found if path not in expected}
    assert expected <= set(found)
    if os.geteuid() == 0:
        # Where uid 0 of the sandbox is that of the host, parts of /proc are protected.
        assert all(path.startswith("/proc/") for path in others)
        assert "ro" in found["/proc"][0]
    else:
        assert others == set()


def test_tmp_is_an_empty_tmpfs_for_everybody(strata, base, layer):
    layer("litter", {"tmp": None, "tmp/old": "x"})
    assert mounts_of(strata)["/tmp"][1] == "tmpfs"
    script = "ls -A /tmp; stat -c %a /tmp; umask"
    assert strata("run", "base", "litter", "--", "sh", "-c", script).ok().out.split() == ["1777", "0022"]


ROOTS = {
    "scratch": (),
    "read-only": ("--read-only",),
    "tmpfs": ("--scratch", "tmpfs"),
    "directory": ("--scratch", "."),
    "workspace": ("--workspace", "w"),
}


@pytest.mark.parametrize("options", ROOTS.values(), ids=ROOTS)
def test_the_root_directory_has_the_same_metadata_always(strata, base, options):
    stat = ("stat", "-c", "%a %u:%g %Y", "/")
    for _ in range(2):  # what a run leaves for the next one may not show either
        assert strata("run", *options, "base", "--", *stat).ok().out == "755 0:0 315532800"
    shy = strata("run", *options, "base", "--", *stat, umask=0o077).ok()
    assert shy.out == "755 0:0 315532800"


def test_the_mode_of_the_root_in_a_layer_is_without_effect(strata, base, make_tar):
    archive = make_tar("shut.tar", {".": Dir(0o700), "x": ""})
    strata("import", "--name", "shut", archive).ok()
    assert strata("run", "base", "shut", "--", "stat", "-c", "%a", "/").ok().out == "755"


# --- process attributes --------------------------------------------------------------------------------


def test_capabilities_are_at_most_the_ten(strata, base):
    status = status_of(strata)
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert status[kind] == DEFAULT_CAPABILITIES, kind
    assert status["CapInh"] == status["CapAmb"] == "0" * 16


def test_privileges_cannot_be_gained(strata, base):
    status = status_of(strata)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_no_signal_is_blocked_or_pending(strata, base):
    status = status_of(strata)
    for kind in ("SigBlk", "SigPnd", "ShdPnd"):
        assert status[kind] == "0" * 16, kind


def test_umask_is_022_whatever_the_caller_has(strata, base):
    assert strata("run", "base", "--", "sh", "-c", "umask", umask=0o077).ok().out == "0022"


def test_no_core_is_dumped(strata, base):
    assert strata.sh("ulimit -c; ulimit -H -c").ok().out.split() == ["0", "0"]


def test_open_file_limit_is_the_callers(strata, base):
    # strata raises its own, for many layers.
    done = subprocess.run(
        ["sh", "-c", 'ulimit -S -n 321; exec "$@"', "sh", *strata.command("run", "base", "--", "sh", "-c", "ulimit -S -n")],
        env=strata.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )
    assert done.stdout.split() == ["321"]


def test_pids_are_limited(strata, base):
    limits = strata("run", "base", "--", "cat", "/proc/self/limits", "/proc/sys/kernel/pid_max").ok().stdout
    processes = next(line for line in limits.splitlines() if line.startswith("Max processes")).split()[3]
    assert limits.splitlines()[-1] == "32768" or int(processes) <= 32768


def test_is_a_session_of_its_own_without_a_terminal(strata, base):
    # So TIOCSTI has nothing to push into. Sessions of the host would show as 0.
    fields = strata.sh("sed 's/.*) //' /proc/self/stat").ok().out.split()
    session, terminal = fields[3], fields[4]
    assert session != "0"
    assert terminal == "0"


# --- what of the host is there -------------------------------------------------------------------------


def test_inherited_descriptors_are_closed(strata, base, tmp_path):
    fds = (os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY), os.open(tmp_path / "secret", os.O_RDWR | os.O_CREAT))
    try:
        done = strata("run", "base", "--", "ls", "/proc/self/fd", pass_fds=fds).ok()
    finally:
        for fd in fds:
            os.close(fd)
    # 3 is what ls reads the directory with.
    assert done.out.split() == ["0", "1", "2", "3"]


def test_the_environment_of_the_caller_is_not_passed_on(strata, base):
    done = strata("run", "base", "--", "env", env={"SECRET": "1", "LD_PRELOAD": "/nowhere.so"}).ok()
    assert "SECRET" not in done.stdout
    assert "LD_PRELOAD" not in done.stdout


def test_links_do_not_lead_out_of_the_root(strata, base, layer, tmp_path):
    (tmp_path / "host").write_text("host")
    layer("links", {"out": Symlink("../../../../../.." + str(tmp_path / "host")), "abs": Symlink(str(tmp_path / "host"))})
    for name in ("/out", "/abs"):
        done = strata("run", "base", "links", "--", "cat", name)
        done.fails(1, "No such file")


def test_hostname(strata, base):
    assert strata("run", "base", "--", "hostname").ok().out == "strata"
    assert strata("run", "--hostname", "box7", "base", "--", "hostname").ok().out == "box7"
    assert os.uname().nodename not in ("strata", "box7")


def test_the_network_is_a_loopback_that_is_up(strata, base):
    text = strata("run", "base", "--", "ip", "-o", "link").ok().out
    assert len(text.splitlines()) == 1
    assert "lo:" in text and "UP" in text
    # And works.
    script = "(echo hi | nc -l -p 4711 127.0.0.1) & sleep 0.2; nc 127.0.0.1 4711 </dev/null"
    assert strata.sh(script, timeout=300).ok().out == "hi"


def test_net_host_is_the_hosts_network(strata, base):
    inside = strata("run", "--net", "host", "base", "--", "readlink", "/proc/self/ns/net").ok().out
    assert inside == os.readlink("/proc/self/ns/net")


@pytest.mark.parametrize("file", ["/etc/hosts", "/etc/resolv.conf"])
def test_net_host_shows_the_hosts_names_read_only(strata, base, file):
    if not os.path.exists(file):
        pytest.skip(f"this machine has no {file}")
    with open(file) as text:
        assert strata("run", "--net", "host", "base", "--", "cat", file).ok().stdout == text.read()
    assert "ro" in mounts_of(strata, "--net", "host")[file][0]
    assert strata("run", "base", "--", "ls", "/etc").ok().out.split() == ["group", "passwd"]


def test_the_machine_cannot_be_changed_through_proc(strata, base):
    for file in ("sys/kernel/core_pattern", "sys/vm/drop_caches", "sysrq-trigger", "irq/default_smp_affinity"):
        if not os.path.exists(f"/proc/{file}"):
            continue
        done = strata.sh(f"echo 0 > /proc/{file}")
        done.fails(None)
        assert "ead-only" in done.stderr or "denied" in done.stderr, file
    # Of /proc/keys an ordinary user sees his own keys, if he has any.
    for file in ("kcore", "timer_list") + (("keys",) if os.geteuid() == 0 else ()):
        assert strata.sh(f"head -c 10 /proc/{file} | wc -c").out == "0", file


# --- standard streams ----------------------------------------------------------------------------------


def test_stdin_is_the_callers(strata, base):
    assert strata("run", "base", "--", "cat", input="to be read").ok().stdout == "to be read"


def test_streams_may_be_files(strata, base, tmp_path):
    (tmp_path / "in").write_text("data")
    with open(tmp_path / "in") as source, open(tmp_path / "out", "w") as out, open(tmp_path / "err", "w") as err:
        strata("run", "base", "--", "sh", "-c", "cat; echo oops >&2", stdin=source, stdout=out, stderr=err).ok()
    assert (tmp_path / "out").read_text() == "data"
    assert (tmp_path / "err").read_text() == "oops\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_dev_null(strata, base, closed):
    script = "ls -l /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 >/tmp/x; exit 5"
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *strata.command("run", "base", "--", "sh", "-c", script)],
        env=strata.environment(), stdin=subprocess.DEVNULL, capture_output=True,
    )
    assert done.returncode == 5


def test_a_directory_as_stdin_is_refused(strata, base, tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        strata("run", "base", "--", "true", stdin=fd).fails(125, "descriptor 0", "directory")
    finally:
        os.close(fd)


def test_a_path_descriptor_as_stdout_is_refused(strata, base, tmp_path):
    (tmp_path / "f").write_text("")
    fd = os.open(tmp_path / "f", os.O_PATH)
    try:
        strata("run", "base", "--", "true", stdout=fd).fails(125, "descriptor 1", "O_PATH")
    finally:
        os.close(fd)
