# SPDX-License-Identifier: Apache-2.0
"""The namespace of a job: the same ids and the same rights as outside, except where it mounts."""

import os
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
START = f"""
import os, subprocess, sys
sys.path.insert(0, {str(TOOLS / "buildstream" / "strata_bst")!r})
import namespace
namespace.enter()
def capabilities(kind):
    return int(next(line for line in open("/proc/self/status") if line.startswith("Cap" + kind)).split()[1], 16)
"""


def in_namespace(code, tmp_path):
    done = subprocess.run([sys.executable, "-c", START + code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_ids_are_the_own_ones(tmp_path):
    (tmp_path / "file").touch()
    said = in_namespace('print(os.getuid(), os.getegid(), os.stat("file").st_uid)', tmp_path)
    assert said == [str(os.getuid()), str(os.getegid()), str(os.getuid())]


def test_rights_are_those_of_before(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0)
    code = """
print(capabilities("Eff"), os.access("secret", os.R_OK))
with namespace.privileged():
    print(capabilities("Eff") == capabilities("Prm") != 0, open("secret").read())
print(capabilities("Eff"))
print(subprocess.run(["sed", "-n", "/^CapPrm/p", "/proc/self/status"], capture_output=True, text=True).stdout.split()[1])
"""
    said = in_namespace(code, tmp_path)
    if os.geteuid() == 0:  # who keeps them
        assert said[1:4] == ["True", "True", "x"] and said[0] == said[4] != "0"
    else:
        assert said == ["0", "False", "True", "x", "0", "0" * 16]


def test_mounts_are_seen_in_there_alone(tmp_path):
    for name in ("a,b", "with:colon", "upper", "work", "root"):
        (tmp_path / name).mkdir()
    (tmp_path / "a,b/x").write_text("low")
    code = """
here = os.getcwd() + "/"
namespace.mount_overlay([here + "a,b", here + "with:colon"], here + "upper", here + "work", here + "root")
open("root/y", "w").close()
print(open("root/x").read(), os.listdir("upper"))
os.chdir("root")
namespace.unmount(here + "root")  # which is busy
print(os.listdir(here + "root"))
"""
    assert in_namespace(code, tmp_path) == ["low", "['y']", "[]"]
    assert not list((tmp_path / "root").iterdir())
    for path, _, _ in os.walk(tmp_path / "work"):
        os.chmod(path, 0o700)
