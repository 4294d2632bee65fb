"""--env, --clear-env, --chdir: what the command starts with."""

from archives import File

DEFAULTS = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LOGNAME": "root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SHELL": "/bin/sh",
    "TERM": "dumb",
    "USER": "root",
}


def env_of(strata, *options, **kwargs):
    text = strata("run", *options, "base", "--", "env", **kwargs).ok().out
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_default_environment_is_this(strata, base):
    assert env_of(strata) == DEFAULTS


def test_the_terminal_type_is_the_callers(strata, base):
    assert env_of(strata, env={"TERM": "vt100"})["TERM"] == "vt100"


def test_another_user_has_another_home(strata, base):
    env = env_of(strata, "--uid", "1000")
    assert (env["HOME"], env["USER"], env["LOGNAME"]) == ("/tmp", "user", "user")


def test_env_sets_a_variable(strata, base):
    env = env_of(strata, "--env", "CC=gcc -O2", "-e", "EMPTY=", "--env=EQ=a=b")
    assert {key: env[key] for key in ("CC", "EMPTY", "EQ")} == {"CC": "gcc -O2", "EMPTY": "", "EQ": "a=b"}


def test_env_replaces_a_default(strata, base):
    assert env_of(strata, "--env", "HOME=/work") == {**DEFAULTS, "HOME": "/work"}


def test_the_last_env_wins(strata, base):
    assert env_of(strata, "--env", "A=1", "--env", "A=2")["A"] == "2"


def test_env_without_a_value_passes_the_callers_on(strata, base):
    assert env_of(strata, "--env", "TOKEN", env={"TOKEN": "x y"})["TOKEN"] == "x y"


def test_env_without_a_value_that_the_caller_lacks_sets_nothing(strata, base):
    assert env_of(strata, "--env", "TOKEN") == DEFAULTS


def test_clear_env_leaves_nothing_but_what_is_asked_for(strata, base):
    # A PATH is needed to find env; strata's own default does.
    assert env_of(strata, "--clear-env") == {}
    assert env_of(strata, "--clear-env", "--env", "A=1") == {"A": "1"}


def test_env_needs_a_name(strata, base):
    strata("run", "--env", "=1", "base", "--", "true").fails(125, "--env")
    strata("run", "--env", "", "base", "--", "true").fails(125, "--env")


def test_a_command_is_found_in_the_path_that_env_sets(strata, base, layer):
    layer("tool", {"opt/bin/tool": File("#!/bin/sh\necho found\n", mode=0o755)})
    strata("run", "base", "tool", "--", "tool").fails(127, "tool")
    done = strata("run", "--env", "PATH=/opt/bin:/bin", "base", "tool", "--", "tool").ok()
    assert done.out == "found"


def test_starts_in_the_root_directory(strata, base):
    assert strata("run", "base", "--", "pwd").ok().out == "/"


def test_chdir(strata, base):
    assert strata("run", "--chdir", "/usr/share", "base", "--", "pwd").ok().out == "/usr/share"


def test_chdir_into_a_bind(strata, base, tmp_path):
    (tmp_path / "src").mkdir()
    done = strata("run", "--bind", f"{tmp_path}/src:/src", "--chdir", "/src", "base", "--", "sh", "-c", "echo x > here")
    done.ok()
    assert (tmp_path / "src/here").read_text() == "x\n"


def test_chdir_to_a_missing_directory_is_an_error_that_names_it(strata, base):
    strata("run", "--chdir", "/nowhere", "base", "--", "true").fails(125, "/nowhere", "hint:", "--chdir")


def test_chdir_must_be_absolute(strata, base):
    strata("run", "--chdir", "usr", "base", "--", "true").fails(125, "--chdir", "absolute")


def test_a_relative_command_starts_at_chdir(strata, base):
    assert strata("run", "--chdir", "/bin", "base", "--", "./echo", "hi").ok().out == "hi"


def test_hostname_is_at_most_64_bytes(strata, base):
    strata("run", "--hostname", "x" * 65, "base", "--", "true").fails(125, "--hostname")
    strata("run", "--hostname", "", "base", "--", "true").fails(125, "--hostname")
    assert strata("run", "--hostname", "x" * 64, "base", "--", "hostname").ok().out == "x" * 64
