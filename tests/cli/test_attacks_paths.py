"""Links and names that a hostile layer plants where strata itself will follow them."""

import os
import subprocess

import pytest
from archives import File, Symlink

DESCRIPTORS = range(3, 24)  # more than strata has open, whatever is added


@pytest.fixture
def planted(layer):
    """A layer of links to each descriptor that the process that becomes the command could have."""
    entries = {f"d{n}": Symlink(f"/proc/self/fd/{n}") for n in DESCRIPTORS}
    entries |= {f"up{n}": Symlink(f"/proc/self/fd/{n}/../../../../../../../../../bin") for n in DESCRIPTORS}
    layer("planted", entries)


def test_a_link_to_a_descriptor_of_strata_is_no_directory_to_start_in(strata, base, planted):
    for n in DESCRIPTORS:
        for name in (f"/d{n}", f"/up{n}"):
            done = strata("run", "--chdir", name, "base", "planted", "--", "ls", "-a")
            done.fails(125, f"chdir {name}")


def test_a_link_to_a_descriptor_of_strata_is_no_command(strata, base, planted):
    for n in DESCRIPTORS:
        assert strata("run", "base", "planted", "--", f"/up{n}/busybox", "true").returncode in (126, 127)


@pytest.mark.parametrize("target", ["/proc/self/exe", "/proc/thread-self/exe", "/bin/../proc/1/../self/exe"])
def test_strata_itself_cannot_be_the_command(strata, base, layer, target):
    # Else /proc/PID/exe is the host's file, which may be its owner's to overwrite.
    layer("planted", {"bin/tool": Symlink(target)})
    strata("run", "base", "planted", "--", "tool", "--version").fails(126, "/bin/tool", "symbolic links")


def test_a_script_cannot_name_a_descriptor_of_strata_as_its_interpreter(strata, base, layer):
    for n in DESCRIPTORS:
        layer(f"s{n}", {"s": File(f"#!/proc/self/fd/{n}/../../../../../../../bin/busybox true\n", mode=0o755)})
        assert strata("run", "base", f"s{n}", "--", "/s").returncode in (126, 127)


@pytest.mark.parametrize("answer", ["ENOSYS", "EPERM"])
def test_descriptors_are_closed_without_close_range_too(strata, strata_binary, base, planted, tmp_path, answer):
    tool = os.environ.get("STRATA_DENY") or strata_binary.parents[1] / "tests/deny_syscall"
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)

    def run(*args):
        command = [str(tool), answer, "close_range", *strata.command("run", *args)]
        return subprocess.run(
            command, env=strata.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            pass_fds=[directory],
        )

    try:
        assert run("base", "--", "ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]
        for n in DESCRIPTORS:
            assert run("--chdir", f"/d{n}", "base", "planted", "--", "ls").returncode == 125
    finally:
        os.close(directory)
