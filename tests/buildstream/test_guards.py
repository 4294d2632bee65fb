# SPDX-License-Identifier: Apache-2.0
"""No command of a build writes to the files of another element's artifact, however they got where it sees them."""

import hashlib

from small import write_small
from trees import write_element

SPOIL = "for f in usr/lib/libx usr/include/x.h; do echo spoilt >> $f; chmod 777 $f; touch -d 1999-01-01 $f; done; rm -f usr/include/x.h"


def write(top):
    write_small(top, plugins=["linker"])
    write_element(top, "in-root", "script", f"config:\n  commands:\n  - cd /; {SPOIL}; cp usr/lib/libx %{{install-root}}\n", build=["lib"])
    write_element(top, "linked", "linker", f"config:\n  command: |\n    cd /collected; {SPOIL}; cd /; {SPOIL}\n", build=["lib"])


def spoilt(side):
    """Objects are named by their content, and only those of programs may be executed."""
    found = []
    for path in (side.cache / "artifacts/cas/objects").rglob("*"):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != path.parent.name + path.name:
            found.append(path)
    files = [*(side.cache / "artifacts").rglob("files/usr/lib/libx"), *(side.cache / "artifacts").rglob("files/usr/include/x.h")]
    return found + [path for path in files if path.stat().st_mode & 0o111 and path.read_text() in ("x\n", "#x\n")]


def test_artifacts_stay_as_they_were(pair):
    pair.write(write)
    pair.bst("build", "in-root.bst", "linked.bst", status=0)
    assert [spoilt(side) for side in pair.sides] == [[], []]
    pair.same_artifacts()
