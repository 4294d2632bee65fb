# SPDX-License-Identifier: Apache-2.0
"""The command line: what is taken, what is refused and how, and what the exit status says."""

import os
import re

import pytest
from bwrap_call import HOST


def refused(result, message):
    """bubblewrap's way to say that it could not set up."""
    assert (result.returncode, result.stderr) == (1, f"bwrap: {message}\n")
    assert result.stdout == ""


def test_version_is_a_name_and_three_numbers(bwrap):
    # As BuildStream 1 and flatpak's configure read it.
    said = bwrap("--version").ok().out
    numbers = re.fullmatch(r"\S+ (\d+)\.(\d+)\.(\d+)", said)
    assert tuple(map(int, numbers.groups())) >= (0, 11, 0)


def test_help_goes_to_stdout(bwrap):
    said = bwrap("--help").ok()
    assert said.stdout.startswith(f"usage: {bwrap.binary} [OPTIONS...] [--] COMMAND [ARGS...]\n")
    assert said.stderr == ""


@pytest.mark.parametrize("arguments", [(), ("--bind", "/", "/"), ("--bind", "/", "/", "--")])
def test_no_command_prints_the_usage_to_stderr(bwrap, arguments):
    said = bwrap(*arguments)
    assert said.returncode == 1
    assert said.stderr.startswith("usage: ")


NUMBER = {
    "an argument": "args tmpfs proc dev mqueue dir lock-file sync-fd block-fd userns-block-fd info-fd json-status-fd "
    "seccomp add-seccomp-fd userns userns2 pidns unsetenv uid gid hostname cap-add cap-drop perms size tmp-overlay "
    "exec-label file-label",
    "one argument": "chdir argv0 remount-ro",
    "two arguments": "bind bind-try ro-bind ro-bind-try dev-bind dev-bind-try bind-fd file bind-data ro-bind-data "
    "symlink setenv chmod",
    "three arguments": "overlay",
}


@pytest.mark.parametrize("option,number", [(o, n) for n, options in NUMBER.items() for o in options.split()])
def test_missing_argument_is_named(bwrap, option, number):
    refused(bwrap(f"--{option}"), f"--{option} takes {number}")


FDS = "sync-fd block-fd userns-block-fd info-fd json-status-fd seccomp add-seccomp-fd userns userns2 pidns args".split()


@pytest.mark.parametrize("option", FDS)
@pytest.mark.parametrize("value", ["x", "", "3x", "-1"])
def test_descriptor_must_be_a_number(bwrap, option, value):
    refused(bwrap(f"--{option}", value, "true"), f"Invalid fd: {value}")


@pytest.mark.parametrize("option", ["file", "bind-data", "ro-bind-data", "bind-fd", "ro-bind-fd"])
def test_descriptor_of_a_file_must_be_a_number(bwrap, option):
    refused(bwrap(f"--{option}", "seven", "/x", "true"), "Invalid fd: seven")


@pytest.mark.parametrize(
    "arguments,message",
    [
        ("--nope", "Unknown option --nope"),
        ("-x", "Unknown option -x"),
        ("--uid -1", "Invalid uid: -1"),
        ("--gid 7x", "Invalid gid: 7x"),
        ("--cap-add CAP_NOPE", "unknown cap: CAP_NOPE"),
        ("--cap-drop NOPE", "unknown cap: NOPE"),
        ("--perms 9", "--perms takes an octal argument <= 07777"),
        ("--perms 10000", "--perms takes an octal argument <= 07777"),
        ("--perms 0755 --perms 0755", "--perms given twice for the same action"),
        ("--perms 0755 --bind / / true", "--perms must be followed by an option that creates a file"),
        ("--size 0", "--size takes a non-zero number of bytes"),
        ("--size 5 --size 5", "--size given twice for the same action"),
        ("--size 5 --dir /x true", "--size must be followed by --tmpfs"),
        ("--chmod 8 /x", "--chmod takes an octal argument <= 07777"),
        ("--argv0 a --argv0 b", "--argv0 used multiple times"),
        ("--hostname x --bind / / true", "Specifying --hostname requires --unshare-uts"),
        ("--as-pid-1 --bind / / true", "Specifying --as-pid-1 requires --unshare-pid"),
        (
            "--unshare-pid --as-pid-1 --lock-file /x --bind / / true",
            "Specifying --as-pid-1 and --lock-file is not permitted",
        ),
        ("--disable-userns --bind / / true", "--disable-userns requires --unshare-user"),
        ("--userns-block-fd 0 true", "--userns-block-fd requires --unshare-user"),
        ("--userns-block-fd 0 --unshare-user true", "--userns-block-fd requires --info-fd"),
    ],
)
def test_bad_arguments_are_refused(bwrap, arguments, message):
    refused(bwrap(*arguments.split()), message)


@pytest.mark.parametrize(
    "arguments,first,second",
    [
        ("--userns 1 --unshare-user true", "--userns", "--unshare-user"),
        ("--userns 1 --unshare-user-try true", "--userns", "--unshare-user-try"),
        (
            "--userns-block-fd 0 --unshare-user --info-fd 1 --disable-userns true",
            "--disable-userns",
            "--userns-block-fd",
        ),
    ],
)
def test_options_that_exclude_each_other_are_both_named(bwrap, arguments, first, second):
    said = bwrap(*arguments.split())
    # The words between have changed from version to version.
    assert said.returncode == 1
    assert re.fullmatch(rf"bwrap: {first} (is )?not compatible (with +)?{second}\n", said.stderr)


def test_seccomp_options_do_not_combine(bwrap):
    program = bwrap.data(bytes(8))
    refused(
        bwrap("--seccomp", program, "--add-seccomp-fd", program, "true"),
        "--add-seccomp-fd cannot be combined with --seccomp",
    )
    refused(
        bwrap("--add-seccomp-fd", program, "--seccomp", program, "true"),
        "--seccomp cannot be combined with --add-seccomp-fd",
    )


def test_seccomp_program_of_odd_length_is_refused(bwrap):
    refused(
        bwrap(*HOST, "--seccomp", bwrap.data(b"1234567"), "true"), "Invalid seccomp data, must be multiple of 8"
    )


@pytest.mark.parametrize("option", ["uid", "gid"])
def test_ids_need_a_user_namespace(bwrap, option):
    said = bwrap(*HOST, f"--{option}", "7", "id", f"-{option[0]}")
    if os.geteuid() == 0:
        refused(said, f"Specifying --{option} requires --unshare-user or --userns")
    else:  # for an ordinary user it is implied
        assert said.ok().out == "7"


@pytest.mark.parametrize("option", ["exec-label", "file-label"])
def test_labels_need_selinux(bwrap, option):
    refused(bwrap(*HOST, f"--{option}", "a:b:c:d", "true"), "labeling not supported on this system")


@pytest.mark.parametrize(
    "options",
    [("--hostname", "a", "--hostname", "b", "--unshare-uts"), ("--uid", "7", "--uid", "8", "--unshare-user")],
)
def test_repeated_option_is_warned_of_and_the_last_counts(bwrap, options):
    said = bwrap(*HOST, *options, "sh", "-c", "hostname; id -u").ok()
    assert said.stderr == f"bwrap: Only the last {options[0]} option will take effect\n"
    assert options[3] in said.out.splitlines()


def test_level_prefix_marks_what_comes_after_it(bwrap):
    said = bwrap(*HOST, "--level-prefix", "--chdir", "/", "--chdir", "/nowhere", "true")
    assert said.returncode == 1
    assert said.stderr.splitlines() == [
        "<4>bwrap: Only the last --chdir option will take effect",
        "<3>bwrap: Can't chdir to /nowhere: No such file or directory",
    ]


# --- the end of the options, and --args


def test_options_end_at_the_first_other_word(bwrap):
    assert bwrap(*HOST, "echo", "--dir", "--", "-x").ok().out == "--dir -- -x"
    assert bwrap(*HOST, "--", "echo", "--", "x").ok().out == "-- x"


def test_args_are_taken_where_they_stand(bwrap):
    words = bwrap.data(b"--setenv\0A\0from file\0--setenv\0B\0from file\0")
    said = bwrap(*HOST, "--setenv", "A", "before", "--args", words, "--setenv", "B", "after", "sh", "-c", "echo $A, $B")
    assert said.ok().out == "from file, after"


def test_args_may_lack_the_last_nul(bwrap):
    assert bwrap(*HOST, "--args", bwrap.data(b"--setenv\0A\0b"), "sh", "-c", "echo $A").ok().out == "b"


def test_args_may_be_empty_words(bwrap):
    assert bwrap(*HOST, "--args", bwrap.data(b"--setenv\0A\0\0"), "sh", "-c", 'echo "<$A>"').ok().out == "<>"


def test_args_do_not_nest(bwrap):
    refused(bwrap(*HOST, "--args", bwrap.data(b"--args\0005\0"), "true"), "--args not supported in arguments file")


def test_args_are_read_from_a_pipe(bwrap):
    read, write = bwrap.pipe()
    os.write(write, b"--setenv\0A\0b\0")
    bwrap.close(write)
    assert bwrap(*HOST, "--args", read, "sh", "-c", "echo $A").ok().out == "b"


def test_unreadable_args_are_an_error(bwrap):
    bwrap(*HOST, "--args", "77", "true").fails(1, "bwrap: Can't read --args data: Bad file descriptor")


# --- the command


@pytest.mark.parametrize("status", [0, 1, 3, 125, 127, 255])
@pytest.mark.parametrize("options", [(), ("--unshare-pid",), ("--unshare-pid", "--as-pid-1"), ("--unshare-all",)])
def test_exit_status_is_the_commands(bwrap, status, options):
    assert bwrap.sh(f"exit {status}", *options).returncode == status


@pytest.mark.parametrize("options", [(), ("--unshare-pid",), ("--die-with-parent",)])
@pytest.mark.parametrize("signal", [9, 15])
def test_signal_of_the_command_is_128_and_its_number(bwrap, options, signal):
    assert bwrap.sh(f"kill -{signal} $$", *options).returncode == 128 + signal


@pytest.mark.parametrize("options", [(), ("--unshare-pid",)])
def test_command_that_is_not_there(bwrap, options):
    refused(bwrap(*HOST, *options, "/no/such"), "execvp /no/such: No such file or directory")


def test_command_that_cannot_be_executed(bwrap):
    refused(bwrap(*HOST, "/etc/passwd"), "execvp /etc/passwd: Permission denied")


def test_command_is_looked_up_in_the_path_of_the_sandbox(bwrap, root):
    (root / "opt").mkdir()
    (root / "opt" / "mine").write_text("#!/bin/sh\necho found\n")
    (root / "opt" / "mine").chmod(0o755)
    assert bwrap("--bind", root, "/", "--setenv", "PATH", "/nope:/opt", "mine").ok().out == "found"
    bwrap("--bind", root, "/", "mine").fails(1, "bwrap: execvp mine: No such file or directory")


def test_stdin_reaches_the_command(bwrap):
    assert bwrap(*HOST, "cat", input="hello").ok().stdout == "hello"


def test_argv0_is_not_what_is_executed(bwrap):
    assert bwrap(*HOST, "--argv0", "-login", "sh", "-c", "echo $0").ok().out == "-login"


# --- environment and directory


def test_environment_is_inherited(bwrap):
    assert bwrap.sh("echo $MINE", env={"MINE": "yes"}).ok().out == "yes"


def test_environment_options_count_in_their_order(bwrap):
    options = "--setenv A 1 --clearenv --setenv B 2 --setenv C 3 --unsetenv C --setenv PATH /usr/bin:/bin".split()
    assert bwrap(*HOST, *options, "--chdir", "/", "env").ok().out.splitlines() == [
        "B=2",
        "PATH=/usr/bin:/bin",
        "PWD=/",
    ]


def test_directory_is_kept_where_it_is_in_the_sandbox(bwrap, tree):
    assert bwrap.sh("pwd; echo $PWD", cwd=tree / "sub").ok().out.splitlines() == [str(tree / "sub")] * 2


def test_directory_is_home_where_the_callers_is_not_there(bwrap, root, tree):
    said = bwrap("--bind", root, "/", "--setenv", "HOME", "/usr/share", "pwd", cwd=tree)
    assert said.ok().out == "/usr/share"


def test_directory_is_the_root_as_a_last_resort(bwrap, root, tree):
    said = bwrap("--bind", root, "/", "--setenv", "HOME", "/nope", "sh", "-c", "pwd; echo $PWD", cwd=tree)
    assert said.ok().out.splitlines() == ["/", "/"]


def test_chdir_that_is_not_there(bwrap):
    refused(bwrap(*HOST, "--chdir", "/nope", "true"), "Can't chdir to /nope: No such file or directory")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_umask_is_inherited(bwrap, mask):
    assert bwrap.sh("umask", umask=mask).ok().out == f"{mask:04o}"
