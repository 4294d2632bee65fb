# SPDX-License-Identifier: Apache-2.0
"""Trees of files, and elements that import them.

A tree is a dict {path: entry}: str or bytes is a file, Exec an executable one, Link a symbolic link, None a directory.
"""

import os
import shutil
import subprocess
from pathlib import Path


class Exec(str):
    """The text of an executable file."""


class Link(str):
    """The target of a symbolic link."""


class Mode:
    """A file with this mode, or a directory where there is no content."""

    def __init__(self, mode, content=None):
        self.mode, self.content = mode, content


def write_tree(top, entries):
    top = Path(top)
    top.mkdir(parents=True, exist_ok=True)
    for name, entry in entries.items():
        path = os.fsencode(top) + b"/" + (name if isinstance(name, bytes) else name.encode())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        mode = None
        if isinstance(entry, Mode):
            mode, entry = entry.mode, entry.content
        if entry is None:
            os.makedirs(path, exist_ok=True)
        elif isinstance(entry, Link):
            os.symlink(entry, path)
        else:
            with open(path, "wb") as file:
                file.write(entry if isinstance(entry, bytes) else entry.encode())
            os.chmod(path, 0o755 if isinstance(entry, Exec) else 0o644)
        if mode is not None:
            os.chmod(path, mode)


def write_project(top, *lines, plugins=()):
    text = ["name: test", "element-path: elements", *lines]
    if plugins:
        text += ["plugins:", "- origin: local", "  path: plugins", "  elements:"]
        text += [f"    {plugin}: 0" for plugin in plugins]
        (top / "plugins").mkdir(exist_ok=True)
        for plugin in plugins:
            shutil.copy(Path(__file__).parent / "plugins" / f"{plugin}.py", top / "plugins")
    (top / "elements").mkdir(parents=True, exist_ok=True)
    (top / "project.conf").write_text("\n".join(text) + "\n")


def write_element(top, name, kind, text="", build=(), depends=(), runtime=(), source=None):
    """elements/NAME.bst. `source` is a tree that becomes its only source; text is YAML as it stands."""
    lines = [f"kind: {kind}"]
    if build or depends or runtime:
        lines.append("depends:")
        for names, how in ((build, "build"), (runtime, "runtime"), (depends, None)):
            for other in names:
                lines.append(f"- filename: {other}.bst" + (f"\n  type: {how}" if how else ""))
    if source is not None:
        write_tree(top / "files" / name, source)
        lines += ["sources:", "- kind: local", f"  path: files/{name}"]
    path = top / "elements" / f"{name}.bst"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n" + text)


def write_import(top, name, entries, text="", **others):
    # An empty directory at the top, so that there is a source to import in any case.
    write_element(top, name, "import", text, source=entries, **others)


def busybox_root():
    """A root with the applets of busybox, /usr merged."""
    busybox = shutil.which("busybox")
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    entries = {
        "usr/bin/busybox": Mode(0o755, Path(busybox).read_bytes()),
        "bin": Link("usr/bin"),
        "sbin": Link("usr/sbin"),
        "lib": Link("usr/lib"),
        "usr/sbin": None,
        "usr/lib/os-release": "NAME=busybox\n",
        "etc/passwd": "root:x:0:0::/:/bin/sh\n",
        "var/tmp": None,
    }
    return entries | {f"usr/bin/{applet}": Link("busybox") for applet in applets if applet != "busybox"}


# Prints what is in the root, except where BuildStream or the kernel put something of their own. Of the many
# applets only the names, or this would be what the tests spend their time on.
LIST_ROOT = r"""
    ls /usr/bin | md5sum
    find / -xdev ! -path '/proc*' ! -path '/dev*' ! -path '/tmp*' ! -path '/buildstream*' ! -path '/usr/bin/??*' | sort > /tmp/names
    while IFS= read -r name; do
      if [ -L "$name" ]; then stat -c '%N %a %u:%g' "$name"
      elif [ -f "$name" ]; then stat -c "%N file %a %u:%g $(md5sum < "$name")" "$name"
      else stat -c '%N %F %a %u:%g' "$name"; fi
    done < /tmp/names
"""


def write_listing(top, name, *, build, **others):
    """An element whose artifact is the listing of its root."""
    text = "config:\n  install-commands:\n  - |\n    { " + LIST_ROOT.strip().replace("\n    ", "\n      ") + "\n    } > %{install-root}/root\n"
    write_element(top, name, "manual", text, build=build, **others)
