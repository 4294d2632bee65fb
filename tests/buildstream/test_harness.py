# SPDX-License-Identifier: Apache-2.0
"""plain_bst, with which an ordinary user compares where only root may use FUSE, builds what bst builds."""

import shutil
from pathlib import Path

from dozen import TARGETS, write_dozen
from sides import Pair, Side


def test_without_fuse_all_is_the_same(tmp_path):
    pair = Pair(Side("plain", shutil.which("bst"), tmp_path), Side("copied", Path(__file__).parent / "plain_bst", tmp_path))
    pair.write(write_dozen)
    said = pair.bst("build", *(f"{name}.bst" for name in TARGETS), status=0)
    pair.same_artifacts()
    pair.same_messages(*said)
    pair.same_logs()
