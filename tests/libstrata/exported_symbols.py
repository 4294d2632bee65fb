#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""exported_symbols.py LIBRARY HEADER CLIENT: the library exports the functions of the header, with
their version, and nothing else; nothing keeps it from being unloaded; and the client uses each."""
import re
import subprocess
import sys

library, header, client = sys.argv[1:]
text = re.sub(r"/\*.*?\*/", "", open(header, encoding="utf-8").read(), flags=re.S)
declared = set(re.findall(r"STRATA_API[^;]*?\b(strata_\w+)\s*\(", text))
bad = []
exported = set()
listing = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", library],
                         check=True, capture_output=True, text=True).stdout
for line in listing.splitlines():
    _, kind, name = line.split(maxsplit=2)
    match = re.fullmatch(r"(strata_\w+)@@STRATA_0\.1", name)
    if match and kind == "T":
        exported.add(match[1])
    elif name.split("@")[0] != "STRATA_0.1":
        bad.append(f"exported: {line}")
bad += [f"in the header and not exported: {name}" for name in sorted(declared - exported)]
bad += [f"exported and not in the header: {name}" for name in sorted(exported - declared)]
used = set(re.findall(r"\b(strata_\w+)\s*\(", open(client, encoding="utf-8").read()))
bad += [f"{client} does not use {name}" for name in sorted(exported - used)]
dynamic = subprocess.run(["readelf", "-dW", library], check=True, capture_output=True,
                         text=True).stdout
for flag in ("NODELETE", "STATIC_TLS", "TEXTREL"):
    if flag in dynamic:
        bad.append(f"{library} has the flag {flag}")
if "libstrata.so.0]" not in dynamic:
    bad.append(f"{library} is not libstrata.so.0")
unique = subprocess.run(["readelf", "-sW", library], check=True, capture_output=True,
                        text=True).stdout
bad += [f"it cannot be unloaded: {line}" for line in unique.splitlines() if " UNIQUE " in line]
print("\n".join(bad) if bad else f"{len(exported)} functions")
sys.exit(1 if bad or not declared else 0)
