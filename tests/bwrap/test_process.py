# SPDX-License-Identifier: Apache-2.0
"""The life of a sandbox: what it inherits, what it reports, how it ends."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess

import pytest
from bwrap_call import HOST
from waiting import descendants, finish, until

# A shell gives what it starts in the background /dev/null as stdin.
WITH_DEV = (*HOST, "--dev", "/dev")
PID_NAMESPACES = [(), ("--unshare-pid",), ("--unshare-pid", "--as-pid-1")]


def read_all(fd):
    text = b""
    while part := os.read(fd, 65536):
        text += part
    return text


def feed(fifo):
    """Writes a line, when somebody reads."""

    def reader():
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None

    fd = until(reader, f"a reader of {fifo}")
    os.write(fd, b"go\n")
    os.close(fd)


# --- descriptors and stdio


def test_other_descriptors_are_inherited(bwrap):
    # flatpak hands sockets through.
    fd = bwrap.data(b"through")
    assert bwrap(*HOST, "cat", f"/proc/self/fd/{int(fd)}", pass_fds=[fd]).ok().stdout == "through"


CONSUMED = ["--args", "--info-fd", "--json-status-fd", "--seccomp", "--add-seccomp-fd", "--block-fd"]


@pytest.mark.parametrize("options", PID_NAMESPACES)
@pytest.mark.parametrize("option", CONSUMED)
def test_descriptors_of_options_do_not_reach_the_command(bwrap, option, options):
    if option in ("--info-fd", "--json-status-fd"):
        fd = bwrap.own(os.memfd_create("out"))
    else:
        # A program that allows everything; for the others anything will do.
        fd = bwrap.data(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000) if "seccomp" in option else b"--die-with-parent\0")
    said = bwrap.sh("ls -l /proc/self/fd", *options, option, fd).ok().out
    assert "memfd" not in said


def test_nothing_of_its_own_reaches_the_command(bwrap):
    for options in (*PID_NAMESPACES, ("--unshare-all",), ("--sync-fd", bwrap.data(b""))):
        # ls has one of its own.
        fds = bwrap.sh("ls /proc/self/fd", *options, "--dev", "/dev", "--proc", "/proc").ok().out.split()
        assert fds == ["0", "1", "2", "3"], options


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("options", [*PID_NAMESPACES, ("--unshare-all", "--dev", "/dev", "--proc", "/proc")])
def test_stdio_may_be_closed(bwrap, tmp_path, closed, options):
    words = " ".join(f"{fd}<&-" for fd in closed)
    command = [str(word) for word in (bwrap.binary, *HOST, *options, "touch", tmp_path / "ran")]
    done = subprocess.run(["sh", "-c", f'exec "$@" {words}', "sh", *command], env=bwrap.env, cwd=bwrap.home, timeout=300)
    assert done.returncode == 0
    assert (tmp_path / "ran").exists()


def test_signal_mask_and_dispositions_reach_the_command(bwrap):
    def prepare():
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1})
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    said = bwrap(*HOST, "grep", "-E", "SigBlk|SigIgn", "/proc/self/status", preexec_fn=prepare).ok().out
    found = {line.split()[0]: int(line.split()[1], 16) for line in said.splitlines()}
    assert found["SigBlk:"] == 1 << (signal.SIGUSR1 - 1)
    assert found["SigIgn:"] & 1 << (signal.SIGUSR2 - 1)


@pytest.mark.since("0.11.1")
@pytest.mark.parametrize("options", PID_NAMESPACES)
def test_status_arrives_where_the_caller_ignores_sigchld(bwrap, options):
    said = bwrap.sh("exit 5", *options, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert said.returncode == 5


# --- reports


def test_info_is_one_object(bwrap):
    read, write = bwrap.pipe()
    process = bwrap.start(*HOST, "--unshare-all", "--info-fd", write, "readlink", *(f"/proc/self/ns/{n}" for n in "ipc mnt net pid uts cgroup".split()))
    bwrap.close(write)
    info = json.loads(read_all(read))
    status, out, err = finish(process)
    assert status == 0, err
    assert info.pop("child-pid") > 1
    assert {f"{name[: name.index(':')]}-namespace": int(name[name.index("[") + 1 : -1]) for name in out.decode().split()} == info


def test_info_leaves_out_the_namespaces_that_are_shared(bwrap):
    read, write = bwrap.pipe()
    bwrap(*HOST, "--unshare-net", "--info-fd", write, "true").ok()
    bwrap.close(write)
    assert set(json.loads(read_all(read))) == {"child-pid", "mnt-namespace", "net-namespace"}


@pytest.mark.parametrize("options", PID_NAMESPACES)
@pytest.mark.parametrize("script,code", [("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137)])
def test_json_status(bwrap, options, script, code):
    if "--as-pid-1" in options and code == 137:
        script = "exit 137"  # nobody kills pid 1 from inside
    read, write = bwrap.pipe()
    assert bwrap.sh(script, *options, "--json-status-fd", write).returncode == code
    bwrap.close(write)
    first, last = map(json.loads, read_all(read).splitlines())
    assert first["child-pid"] > 1 and "mnt-namespace" in first
    assert last == {"exit-code": code}


@pytest.mark.parametrize("options", PID_NAMESPACES)
@pytest.mark.parametrize("failing", [("--bind", "/nope", "/x", "true"), ("--chdir", "/nope", "true"), ("/nope",)])
def test_json_status_has_no_exit_code_where_the_command_did_not_start(bwrap, options, failing):
    read, write = bwrap.pipe()
    assert bwrap(*HOST, *options, "--json-status-fd", write, *failing).returncode == 1
    bwrap.close(write)
    assert b"exit-code" not in read_all(read)


def test_child_pid_is_a_process_of_the_sandbox(bwrap):
    read, write = bwrap.pipe()
    process = bwrap.start(*HOST, "--unshare-pid", "--info-fd", write, "cat", stdin=subprocess.PIPE)
    bwrap.close(write)
    info = json.loads(read_all(read))
    with open(f"/proc/{info['child-pid']}/status", encoding="ascii") as file:
        inner = next(line.split() for line in file if line.startswith("NSpid"))
    assert inner[-1] == "1"
    assert os.stat(f"/proc/{info['child-pid']}/ns/pid").st_ino == info["pid-namespace"]
    assert finish(process)[0] == 0


# --- waiting for others


@pytest.mark.parametrize("options", PID_NAMESPACES)
def test_block_fd_holds_the_command_back(bwrap, tmp_path, options):
    block, unblock = bwrap.pipe()
    info, write = bwrap.pipe()
    process = bwrap.start(*HOST, *options, "--block-fd", block, "--info-fd", write, "touch", tmp_path / "ran")
    bwrap.close(write)
    assert json.loads(read_all(info))["child-pid"]
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.1)
    assert not (tmp_path / "ran").exists()
    os.write(unblock, b"x")
    assert finish(process)[0] == 0
    assert (tmp_path / "ran").exists()


def test_block_fd_that_is_closed_blocks_no_more(bwrap):
    block, unblock = bwrap.pipe()
    process = bwrap.start(*HOST, "--block-fd", block, "echo", "ran")
    bwrap.close(block)
    bwrap.close(unblock)
    assert finish(process)[:2] == (0, b"ran\n")


def test_sync_fd_is_open_as_long_as_the_command_runs(bwrap):
    read, write = bwrap.pipe()
    process = bwrap.start(*HOST, "--sync-fd", write, "cat", stdin=subprocess.PIPE)
    bwrap.close(write)
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    assert finish(process)[0] == 0
    os.set_blocking(read, True)
    assert os.read(read, 1) == b""


def test_sync_fd_is_open_as_long_as_anything_runs_in_a_pid_namespace(bwrap, tmp_path):
    read, write = bwrap.pipe()
    os.mkfifo(tmp_path / "fifo")
    # The command ends, and leaves something behind that runs until it can read.
    script = f"(exec >&- 2>&-; read line < {tmp_path}/fifo) & exit 3"
    process = bwrap.start(*WITH_DEV, "--unshare-pid", "--sync-fd", write, "sh", "-c", script, stdout=None, stderr=None)
    bwrap.close(write)
    assert process.wait(timeout=300) == 3
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.set_blocking(read, True)
    feed(tmp_path / "fifo")
    assert os.read(read, 1) == b""


def test_sync_fd_is_not_the_commands(bwrap):
    read, write = bwrap.pipe()
    said = bwrap.sh("ls -l /proc/self/fd", "--unshare-pid", "--sync-fd", write).ok()
    assert os.readlink(f"/proc/self/fd/{int(read)}") not in said.out


def locked(path):
    """Whether somebody holds a lock of POSIX on it."""
    query = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with open(path, "r+b") as file:
        return struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, query))[0] != fcntl.F_UNLCK


@pytest.mark.parametrize("options", [(), ("--unshare-pid",), ("--unshare-pid", "--die-with-parent")])
def test_lock_files_are_locked_while_it_runs(bwrap, tree, options):
    # Their paths are those of the sandbox.
    locks = ("--bind", tree, "/tmp/x", "--lock-file", "/tmp/x/file", "--lock-file", "/tmp/x/sub/below")
    process = bwrap.start(*HOST, *options, *locks, "cat", stdin=subprocess.PIPE)
    until(lambda: locked(tree / "file") and locked(tree / "sub/below"), "the locks")
    assert finish(process)[0] == 0
    until(lambda: not locked(tree / "file") and not locked(tree / "sub/below"), "the end of the locks")


@pytest.mark.parametrize("options", [(), ("--unshare-pid",)])
def test_lock_file_that_is_not_there(bwrap, options):
    bwrap(*HOST, *options, "--lock-file", "/tmp/nope", "true").fails(
        1, "bwrap: Unable to open lock file /tmp/nope: No such file or directory\n"
    )


# --- sessions and signals


def test_new_session(bwrap):
    code = ("/usr/bin/python3", "-c", "import os; print(os.getsid(0))")
    assert bwrap(*HOST, *code).ok().out == str(os.getsid(0))
    assert bwrap(*HOST, "--new-session", *code).ok().out != str(os.getsid(0))


def test_new_session_has_no_terminal(bwrap):
    pid, terminal = pty.fork()
    if pid == 0:
        command = [str(bwrap.binary), *HOST, "--new-session", "sh", "-c", "(: < /dev/tty) 2>&- || echo none"]
        os.execve(command[0], command, bwrap.env)
    assert os.waitpid(pid, 0)[1] == 0
    assert os.read(terminal, 100).strip() == b"none"
    os.close(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("options", [(), ("--unshare-pid",)])
def test_signal_ends_it_and_with_die_with_parent_the_sandbox(bwrap, number, options):
    sync, write = bwrap.pipe()
    process = bwrap.start(*HOST, *options, "--die-with-parent", "--sync-fd", write, "sh", "-c", "echo up; exec sleep 100")
    bwrap.close(write)
    assert process.stdout.read(3) == b"up\n"
    process.send_signal(number)
    assert finish(process)[0] == -number
    assert os.read(sync, 1) == b""  # everything has gone


@pytest.mark.parametrize("options", [("--unshare-pid",), ("--unshare-pid", "--as-pid-1")])
def test_everything_of_a_pid_namespace_dies_with_the_parent(bwrap, options):
    script = "(trap '' TERM INT HUP; exec sleep 100) & setsid sleep 100 & echo up; exec sleep 100"
    process = bwrap.start(*WITH_DEV, *options, "--die-with-parent", "sh", "-c", script)
    assert process.stdout.read(3) == b"up\n"
    process.kill()
    # Their stdout is closed once they are all gone.
    assert finish(process)[0] == -9


def test_without_die_with_parent_the_sandbox_lives_on(bwrap):
    process = bwrap.start(*HOST, "--unshare-pid", "sh", "-c", "echo up; read line; echo $line", stdin=subprocess.PIPE)
    assert process.stdout.read(3) == b"up\n"
    process.kill()
    process.wait(timeout=300)
    process.stdin.write(b"still here\n")
    process.stdin.flush()
    assert process.stdout.read() == b"still here\n"
    process.stdin.close(), process.stderr.close(), process.stdout.close()


def test_interrupt_from_the_terminal_reaches_the_command(bwrap):
    # Both are in the foreground: the command may handle it, bwrap itself dies of it.
    inner = "trap 'echo caught; exit 4' INT; echo up; while :; do sleep 0.01; done"
    pid, terminal = pty.fork()
    if pid == 0:
        # A leader of the session that does not end with them, or the terminal would hang up.
        script = 'trap : INT; "$@"; echo status $?; read line'
        os.execve("/bin/sh", ["sh", "-c", script, "sh", str(bwrap.binary), *HOST, "sh", "-c", inner], bwrap.env)
    text = b""
    while b"up" not in text:
        text += os.read(terminal, 100)
    os.write(terminal, b"\x03")
    while b"caught" not in text or b"status 130" not in text:
        text += os.read(terminal, 100)
    os.write(terminal, b"\n")
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def test_stopped_command_goes_on(bwrap):
    process = bwrap.start(*HOST, "--unshare-pid", "sh", "-c", "echo up; kill -STOP $$; exit 6")
    assert process.stdout.read(3) == b"up\n"
    stopped = until(lambda: [pid for pid in descendants(process.pid) if state(pid) == "T"], "the stop")
    os.kill(stopped[-1], signal.SIGCONT)
    assert finish(process)[0] == 6


# --- the reaper


def test_reaper_takes_orphans_and_outlives_the_command(bwrap, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    script = f"(exec >&- 2>&-; read x < {tmp_path}/fifo; touch {tmp_path}/after) & exit 0"
    process = bwrap.start(*WITH_DEV, "--unshare-pid", "sh", "-c", script, stdout=None, stderr=None)
    assert process.wait(timeout=300) == 0
    feed(tmp_path / "fifo")
    until((tmp_path / "after").exists, "what the command left behind")


def test_zombies_are_reaped(bwrap):
    # Orphans that end: none may be left in /proc.
    script = "for i in 1 2 3 4 5; do (sh -c 'sleep 0.01 &' &); done; sleep 0.3; grep -l '^State:.Z' /proc/[0-9]*/status; exit 0"
    assert bwrap.sh(script, "--unshare-pid", "--dev", "/dev", "--proc", "/proc").ok().out == ""


@pytest.mark.parametrize("options,pid", [(("--unshare-pid",), "2"), (("--unshare-pid", "--as-pid-1"), "1")])
def test_pid_of_the_command(bwrap, options, pid):
    assert bwrap.sh("echo $$", *options).ok().out == pid


@pytest.mark.strata
def test_nothing_is_left_when_the_reports_cannot_be_written(bwrap):
    for option in ("--info-fd", "--json-status-fd"):
        # Its output is at its end only when every process that has it open has ended.
        bwrap(*HOST, option, "4000", "sleep", "1000", timeout=300).fails(1, "bwrap: Write to info_fd: ")
