"""What strata says when something cannot be done: the whole message, and the hint that helps."""

import os
import pty
import subprocess

import pytest
from archives import File


def says(result, status, message, hint=None):
    """Asserts the exit status and all of stderr."""
    expected = f"strata: {message}\n" + (f"hint: {hint}\n" if hint else "")
    assert (result.returncode, result.stderr) == (status, expected)
    assert result.stdout == ""


# --- the command line ------------------------------------------------------------------------------


def test_no_command_prints_the_overview_and_fails(strata):
    result = strata()
    assert result.returncode == 2
    assert result.stderr.startswith("usage: strata COMMAND") and "  import " in result.stderr


def test_help_goes_to_stdout(strata):
    overview = strata("help").ok().out
    for words in (["--help"], ["-h"], ["help", "help"], ["help", "--help"]):
        assert strata(*words).ok().out == overview
    for line in overview.split("\n\n")[2].split("\n")[1:]:
        command = line.split()[0]
        if command == "help":
            continue
        help_text = strata(command, "--help").ok().out
        assert help_text.startswith(f"usage: strata {command} ")
        assert strata("help", command).ok().out == help_text
        assert strata(command, "-h").ok().out == help_text


def test_version(strata):
    assert strata("--version").ok().out.startswith("strata 0.")


def test_unknown_command(strata):
    says(strata("improt", "x"), 2, "there is no command 'improt'", "did you mean import?")
    says(strata("zzzzzzzz"), 2, "there is no command 'zzzzzzzz'", "`strata help` lists them")
    says(strata("help", "improt"), 2, "there is no command 'improt'", "did you mean import?")


def test_unknown_option(strata):
    says(strata("list", "--jsn"), 2, "list has no option --jsn", "did you mean --json?")


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["show"], "show: an argument is missing", "usage: strata show [--json] LAYER|ROOT"),
        (["show", "a", "b"], "show: unexpected argument 'b'", "usage: strata show [--json] LAYER|ROOT"),
        (["import", "--name"], "--name needs a value: REF", None),
        (["import", "--format", "zip", "x"], "--format: 'zip' is none of the choices", "--format auto|dir|tar|oci"),
        (["import", "--mtime", "now", "x"], "--mtime: 'now' is not a time in seconds since 1970", None),
        (["import", "--name", "a b", "x"], "--name: 'a b' cannot be a ref: only letters, digits and ._/:+~@- are allowed", None),
    ],
)
def test_usage_errors_exit_with_2(strata, args, message, hint):
    says(strata(*args), 2, message, hint)


# --- names of layers -------------------------------------------------------------------------------


def test_unknown_layer_in_an_empty_store(strata):
    says(strata("show", "base"), 1, "no layer or ref named base", "the store is empty: strata import --name NAME SOURCE")


def test_unknown_layer_with_a_near_name(strata, layer):
    layer("gcc:12", {"x": ""})
    says(strata("show", "gcc:13"), 1, "no layer or ref named gcc:13", "did you mean gcc:12?")
    says(strata("show", "python"), 1, "no layer or ref named python", "`strata list` shows what there is")


def test_unknown_id(strata, layer):
    layer("a", {"x": ""})
    says(strata("show", "0" * 64), 1, f"no layer {'0' * 64}")


def test_ambiguous_prefix_lists_the_candidates(strata, store):
    strata("list").ok()
    ids = ["abcd" + digit * 60 for digit in "01"]
    for name in ids:
        (store / "layers" / name).mkdir()
    says(strata("show", "abcd"), 1, "the id prefix abcd fits 2 layers", f"one of {ids[0][:16]}, {ids[1][:16]}")


# --- what is imported ------------------------------------------------------------------------------


def test_source_missing(strata, tmp_path):
    says(strata("import", "nope.tar"), 1, "import nope.tar: open nope.tar: No such file or directory")


def test_not_a_tar(strata, store, tmp_path):
    (tmp_path / "text").write_text("this is no archive\n" * 100)
    result = strata("import", tmp_path / "text")
    assert result.returncode == 1
    assert result.stderr.startswith(f"strata: import {tmp_path}/text: not a tar archive\n")
    assert strata("import", "-", input="").fails(1).stderr.startswith("strata: import standard input: empty: not a tar archive")
    assert list((store / "layers").iterdir()) == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_truncated_tar(strata, store, make_tar, mode):
    archive = make_tar("a.tar", {"x": File(os.urandom(400_000)), "y": "1"}, mode=mode)
    os.truncate(archive, 200_000)
    result = strata("import", archive)
    assert result.returncode == 1
    assert result.stderr.startswith(f"strata: import {archive}: truncated archive")
    assert list((store / "layers").iterdir()) == []


def test_control_characters_of_a_hostile_archive_do_not_reach_the_terminal(strata, make_tar):
    result = strata("import", make_tar("a.tar", {"\x1b[2Jx/../../y": "1"})).fails(1)
    assert "\x1b" not in result.stderr and "\\x1b[2Jx" in result.stderr


# --- the store -------------------------------------------------------------------------------------


def test_store_path_is_not_a_store(strata, store):
    store.mkdir()
    (store / "thesis.tex").write_text("")
    says(
        strata("list"),
        2,
        f"open store {store}: not a strata store, and not empty",
        "name an empty or new directory in STRATA_STORE",
    )
    assert [path.name for path in store.iterdir()] == ["thesis.tex"]


def test_store_path_is_a_file(strata, store):
    store.write_text("")
    says(strata("list"), 1, f"open store {store}: open {store}: Not a directory")


def test_store_of_another_version(strata, store):
    store.mkdir()
    (store / "format").write_text("strata store 9\n")
    says(
        strata("list"),
        1,
        f"open store {store}: its format is 'strata store 9'; this strata knows 'strata store 1'",
        "use the strata that made it, or another store: export STRATA_STORE=DIR",
    )


def test_no_home(strata):
    says(
        strata("list", env={"HOME": None, "STRATA_STORE": None, "XDG_DATA_HOME": None}),
        2,
        "no place for the store: HOME is not set",
        "export STRATA_STORE=DIR",
    )


def in_mount_namespace(strata, script, *args):
    """Runs a shell script as uid 0 of new user and mount namespaces; "$@" are strata and `args`."""
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-euc", script, "sh", *strata.command(*args)],
        env=strata.environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_store_on_a_read_only_file_system(strata, store, make_tar):
    archive = make_tar("a.tar", {"x": "1"})
    strata("list").ok()
    script = 'mount --bind "$STRATA_STORE" "$STRATA_STORE"; mount -o remount,bind,ro "$STRATA_STORE"; "$@"'
    result = in_mount_namespace(strata, script, "import", archive)
    assert result.returncode == 1
    assert result.stderr.startswith(f"strata: import {archive}: ") or result.stderr.startswith(f"strata: open store {store}: ")
    assert result.stderr.endswith(
        ": Read-only file system\nhint: choose a directory that you may write to: export STRATA_STORE=DIR\n"
    )


def test_store_where_the_user_may_not_write(strata, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    command = strata.command("list")
    if os.geteuid() == 0:  # without the capabilities that let root write anywhere
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    store = closed / "store"
    result = subprocess.run(command, env=strata.environment({"STRATA_STORE": store}), capture_output=True, text=True)
    says(
        result,
        1,
        f"open store {store}: mkdir {store}: Permission denied",
        "choose a directory that you may write to: export STRATA_STORE=DIR",
    )


def test_disk_full_leaves_the_store_as_it_was(strata, store, make_tar):
    small = make_tar("small.tar", {"x": "1"})
    large = make_tar("large.tar", {"x": File(b"x" * 3_000_000)})
    store.mkdir()
    script = (
        'mount -t tmpfs -o size=1m tmpfs "$STRATA_STORE"; '
        f'"$1" import "{small}" >&2; rc=0; "$@" || rc=$?; '
        'ls "$STRATA_STORE/layers" "$STRATA_STORE/tmp"; exit "$rc"'
    )
    result = in_mount_namespace(strata, script, "import", large)
    assert result.returncode == 1
    small_id, message, hint = result.stderr.splitlines()
    assert message.startswith(f"strata: import {large}: ")
    assert message.endswith(": No space left on device")
    assert hint == "hint: the file system is full, or out of inodes: see df and df -i"
    assert result.stdout == f"{store}/layers:\n{small_id}\n\n{store}/tmp:\n"


def test_a_write_error_on_stdout_is_reported(strata, layer):
    layer("a", {"x": ""})
    with open("/dev/full", "wb") as full:
        result = strata("list", stdout=full)
    assert result.returncode == 1
    assert result.stderr.startswith("strata: write standard output: No space left on device\n")


def test_closed_stdio_does_not_end_up_in_the_store(strata, store, make_tar):
    archive = make_tar("a.tar", {"x": "1"})
    shell = subprocess.run(
        ["sh", "-c", '"$@" 0<&- 1>&- 2>&-', "sh", *strata.command("import", "--name", "a", archive)],
        env=strata.environment(),
        timeout=300,
    )
    assert shell.returncode == 0
    assert strata("files", "a").ok().out == "x"


# --- colour ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)]
)
def test_colour_on_a_terminal_unless_told_otherwise(strata, env, colour):
    leader, follower = pty.openpty()
    strata("show", "nope", stderr=follower, env={"TERM": "xterm", **env}).fails(1)
    os.close(follower)
    text = os.read(leader, 4096)
    os.close(leader)
    assert (b"\x1b[" in text) == colour
