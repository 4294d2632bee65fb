# SPDX-License-Identifier: Apache-2.0
"""The modules of strata-bst, for the tests that look at one of them by itself."""

import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path[:0] = [str(TOOLS / "buildstream"), str(TOOLS / "python")]

from strata_bst import links, overlaps, patches, session  # noqa: E402, F401  pylint: disable=wrong-import-position
