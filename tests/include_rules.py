#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file includes only from its own module or from one to its left: base, cache, stager, sandbox, tools.
The tests of libstrata include nothing of strata but its header, and libstrata nothing of the other tools."""
import pathlib
import re
import sys

ORDER = ["base", "cache", "stager", "sandbox", "tools"]
root = pathlib.Path(__file__).resolve().parent.parent
bad = []
checked = 0
for rank, module in enumerate(ORDER):
    for path in sorted((root / module).rglob("*")):
        if path.suffix not in (".h", ".cc") or "demo-src" in path.parts:
            continue
        checked += 1
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^/"]+)/', line)
            if match and match[1] in ORDER and ORDER.index(match[1]) > rank:
                bad.append(f"{path.relative_to(root)}:{number}: {line.strip()}")
            match = re.match(r'\s*#\s*include\s+"tools/([^/"]+)/', line)
            if match and match[1] != "libstrata" and path.parent == root / "tools" / "libstrata":
                bad.append(f"{path.relative_to(root)}:{number}: {line.strip()}")
            # Raw system calls belong into base/sys.cc alone.
            if re.search(r"::syscall\s*\(", line) and path != root / "base" / "sys.cc":
                bad.append(f"{path.relative_to(root)}:{number}: a raw system call outside base/sys.cc")
for path in sorted((root / "tests" / "libstrata").rglob("*")):
    if path.suffix in (".h", ".cc", ".c"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.match(r'\s*#\s*include\s+"(?!strata\.h"|tests/libstrata/)', line):
                bad.append(f"{path.relative_to(root)}:{number}: {line.strip()}")
print("\n".join(bad) if bad else f"{checked} files checked")
sys.exit(1 if bad or checked == 0 else 0)
