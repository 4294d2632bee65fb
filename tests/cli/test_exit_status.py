"""The exit status of `strata run` (design section 7), and what is said when nothing could be run."""

import os
import shutil
import struct
import time

import pytest
import waiting
from archives import Dir, File


def test_is_the_commands_own(strata, base):
    for status in (0, 1, 42, 124, 125, 126, 127, 255):
        assert strata("run", "base", "--", "sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("number", [1, 2, 6, 9, 11, 15])
def test_is_128_and_the_signal_that_killed_the_command(strata, base, number):
    assert strata("run", "base", "--", "sh", "-c", f"kill -{number} $$").returncode == 128 + number


def test_a_command_that_fails_is_not_commented(strata, base):
    assert strata("run", "base", "--", "false").stderr == ""


# --- 127: not found ------------------------------------------------------------------------------------


def test_an_unknown_command_is_127(strata, base):
    strata("run", "base", "--", "frobnicate").fails(127, "frobnicate", "not found", "hint:", "PATH")


def test_a_missing_path_is_127(strata, base):
    strata("run", "base", "--", "/opt/tool").fails(127, "/opt/tool", "not found")


def test_a_path_below_a_file_is_127(strata, base):
    strata("run", "base", "--", "/etc/passwd/tool").fails(127, "/etc/passwd/tool", "not found")


def elf_that_wants(loader):
    """The start of an ELF program for this machine that names `loader` as its interpreter."""
    machine = {"x86_64": 62, "aarch64": 183}[os.uname().machine]
    path = loader.encode() + b"\0"
    interp_at = 64 + 56
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, machine, 1, 0x400000, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    program = struct.pack("<IIQQQQQQ", 3, 4, interp_at, 0, 0, len(path), len(path), 1)
    return header + program + path


def test_a_missing_loader_is_127_and_named(strata, base, layer):
    layer("tool", {"bin/tool": File(elf_that_wants("/lib64/ld-nowhere.so.2"), mode=0o755)})
    strata("run", "base", "tool", "--", "tool").fails(127, "/bin/tool", "/lib64/ld-nowhere.so.2", "missing", "hint:")


def test_a_dynamic_program_of_the_host_names_its_loader(strata, base, layer):
    program = shutil.which("true", path="/usr/bin:/bin")
    with open(program, "rb") as file:
        layer("tool", {"bin/hosttrue": File(file.read(), mode=0o755)})
    strata("run", "base", "tool", "--", "hosttrue").fails(127, "ld-linux", "missing", "hint:")


def test_a_missing_script_interpreter_is_127_and_named(strata, base, layer):
    layer("tool", {"bin/tool": File("#! /usr/bin/python9 -u\n", mode=0o755)})
    strata("run", "base", "tool", "--", "tool").fails(127, "/bin/tool", "/usr/bin/python9", "missing")


# --- 126: cannot be executed ---------------------------------------------------------------------------


def test_a_file_without_the_x_bit_is_126(strata, base):
    strata("run", "base", "--", "/etc/passwd").fails(126, "/etc/passwd", "ermission denied", "hint:")


def test_a_directory_is_126(strata, base):
    strata("run", "base", "--", "/usr").fails(126, "/usr", "ermission denied")


def test_what_is_not_a_program_is_126(strata, base, layer):
    layer("tool", {"bin/tool": File("neither ELF nor a script", mode=0o755)})
    strata("run", "base", "tool", "--", "tool").fails(126, "/bin/tool", "Exec format error", "hint:")


def test_a_file_that_cannot_be_executed_does_not_hide_one_later_in_the_path(strata, base, layer):
    layer("tool", {"usr/bin": Dir(), "usr/bin/tool": File("", mode=0o644),
                   "bin/tool": File("#!/bin/sh\necho found\n", mode=0o755)})
    assert strata("run", "base", "tool", "--", "tool").ok().out == "found"


# --- 125: nothing ran ----------------------------------------------------------------------------------


def test_an_unknown_layer_is_125(strata, base):
    strata("run", "nowhere", "--", "true").fails(125, "nowhere")


def test_an_ambiguous_prefix_is_125_and_lists_the_candidates(strata, base, layer):
    # Two ids that start alike cannot be made on purpose, but one can be copied.
    one = layer("one", {"one": ""})
    two = one[:8] + "0" * 56
    layers = strata.store / "layers"
    shutil.copytree(layers / one, layers / two)
    strata("run", one[:8], "--", "true").fails(125, "2 layers", "hint:", one[:12], two[:12])


def test_a_prefix_of_less_than_four_digits_is_125(strata, base):
    strata("run", base[:3], "--", "true").fails(125, base[:3])


def test_a_store_that_cannot_be_made_is_125_with_a_hint(strata, base, tmp_path):
    (tmp_path / "file").write_text("")
    strata("run", "base", "--", "true", env={"STRATA_STORE": f"{tmp_path}/file"}).fails(125, str(tmp_path / "file"))


def test_a_store_of_another_version_is_125_with_advice(strata, base, store):
    (store / "format").write_text("strata store 2\n")
    strata("run", "base", "--", "true").fails(125, "strata store 2", "hint:")


def test_a_damaged_layer_is_125(strata, base, store):
    (store / "layers" / base / "tree").rename(store / "elsewhere")
    strata("run", "base", "--", "true").fails(125, base[:12])


# --- 124: timed out ------------------------------------------------------------------------------------


def test_a_timeout_is_124(strata, base):
    begin = time.monotonic()
    done = strata("run", "--timeout", "0.3s", "base", "--", "sleep", "1000")
    done.fails(124, "timed out", "0.3 s")
    assert time.monotonic() - begin >= 0.3


def test_a_timeout_asks_first(strata, base):
    script = "trap 'echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    done = waiting.with_time_enough(lambda limit: strata.sh(script, options=("--timeout", limit)).fails(124), lambda done: done.out)
    assert done.out.split() == ["up", "saved"]


def test_a_timeout_asks_every_process(strata, base):
    child = 'trap \"echo child; exit\" TERM; echo up; while :; do sleep 0.05; done'
    script = f"trap 'wait; exit' TERM; sh -c '{child}' & wait"
    done = waiting.with_time_enough(lambda limit: strata.sh(script, options=("--timeout", limit)).fails(124), lambda done: done.out)
    assert done.out.split() == ["up", "child"]


def test_a_stopped_command_is_ended_by_a_timeout_too(strata, base):
    strata.sh("kill -STOP $$", options=("--timeout", "0.3")).fails(124)


def test_a_timeout_that_is_not_reached_changes_nothing(strata, base):
    assert strata.sh("exit 7", options=("--timeout", "1h")).returncode == 7


def test_a_timeout_too_short_to_start_ends_soon(strata, base):
    strata("run", "--timeout", "0.001", "--grace", "1h", "base", "--", "sleep", "1000").fails(124)


@pytest.mark.parametrize("value", ["0", "-1", "1d", "soon", "", "1e3"])
def test_a_timeout_is_a_time(strata, base, value):
    strata("run", "--timeout", value, "base", "--", "true").fails(125, "--timeout")
