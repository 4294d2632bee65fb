"""Runs tests/attacks in sandboxes: `from attacks import attack  # noqa` makes it a fixture.

    attack("mount_tmpfs", "kill=7", options=("--net", "host")) -> {"mount_tmpfs": "EPERM", "kill=7": "ESRCH"}

An attack that worked is "WORKED" and what it reached; one that did not, the errno that stopped it.
"""

import os
import platform
import subprocess
from pathlib import Path

import pytest
from archives import File

X86 = platform.machine() == "x86_64"


def results(names, text):
    """The lines of the attack program, one for each of `names`."""
    lines = text.splitlines()
    assert [line.split(" ")[0] for line in lines] == [name.split("=")[0] for name in names], text
    return {name: line.split(" ", 1)[1].strip() for name, line in zip(names, lines)}


@pytest.fixture
def attack_binary(strata_binary):
    path = Path(os.environ.get("STRATA_ATTACK") or strata_binary.parents[1] / "tests/attack")
    assert os.access(path, os.X_OK), f"{path} is missing: build it, or set STRATA_ATTACK"
    return path


@pytest.fixture
def attack(strata, base, layer, attack_binary):
    """Runs attacks in one sandbox of the layers base and attack, and then of `layers`."""
    layer("attack", {"bin/attack": File(attack_binary.read_bytes(), mode=0o755)})

    def run(*names, options=(), layers=(), **kwargs):
        done = strata("run", *options, "base", "attack", *layers, "--", "attack", *names, **kwargs)
        return results(names, done.ok().stdout)

    def outside(*names, **kwargs):
        """The same without a sandbox: whether an attack would work at all."""
        done = subprocess.run([attack_binary, *names], capture_output=True, text=True, timeout=300, **kwargs)
        assert done.returncode == 0, done.stderr
        return results(names, done.stdout)

    run.outside = outside
    run.layers = ("base", "attack")
    return run
