# SPDX-License-Identifier: Apache-2.0
"""What happens where the artifacts of dependencies meet: each case is a list of trees, staged in that order.

Some are errors to BuildStream, and some mean that it leaves a file out: so must it be with strata.
"""

import random

from trees import Exec, Link, Mode

A, B = {"t/x": "a\n"}, {"t/x": "b\n"}

CASES = {
    "file over file": [A, B],
    "the same file twice": [A, A],
    "file over link": [{"t": Link("nowhere"), "u": Link("etc")}, {"t": "b\n", "u": "u\n"}],
    "link over file": [{"t": "a\n"}, {"t": Link("etc/passwd")}],
    "link over link": [{"t": Link("etc"), "u": Link("etc")}, {"t": Link("usr"), "u": Link("etc")}],
    "file over empty directory": [{"t": None}, {"t": "b\n"}],
    "file over directory": [A, {"t": "b\n", "other": "o\n"}],
    "link over empty directory": [{"t": None}, {"t": Link("etc")}],
    "link over directory": [A, {"t": Link("etc"), "etc/new": "n\n"}],
    "empty directory over file": [{"t": "a\n"}, {"t": None}],
    "directory over file": [{"t": "a\n"}, B],
    "directory over link to file": [{"t": Link("etc/passwd")}, B],
    "directory over dangling link": [{"t": Link("made/up")}, B],
    "empty directory over dangling link": [{"t": Link("made/up")}, {"t": None}],
    "directory over absolute link": [{"t": Link("/var/lib/t"), "var/lib/t/y": "y\n"}, B],
    "directory over dangling absolute link": [{"t": Link("/var/lib/t")}, B],
    "directory over chain": [{"t": Link("u"), "u": Link("/v"), "v": Link("usr/w"), "usr/w/y": "y\n"}, B],
    "directory over chain that dangles": [{"t": Link("u"), "u": Link("usr/w/z")}, B],
    "directory over looping link": [{"t": Link("t")}, B],
    "directory over link to the top": [{"usr/t": Link("..")}, {"usr/t/x": "b\n"}],
    "directory over link that leaves the root": [{"t": Link("../../../../../../../../../nowhere/t")}, B],
    "link to link across artifacts": [{"t": Link("u")}, {"u": Link("usr/share")}, B],
    "link after what lies below it": [A, {"t": Link("u"), "u/y": "y\n"}],
    "through merged usr": [{"lib/a/x": "a\n"}, {"usr/lib/a/x": "b\n", "lib/a/y": "y\n"}, {"bin/p": Exec("p\n"), "usr/bin/p": Exec("q\n")}],
    "both ways in one artifact": [{"t": Link("u"), "u/x": "u\n"}, {"t/x": "t\n", "u/x": "v\n"}],
    "relative link in a linked directory": [{"lib/l": Link("../etc/passwd"), "lib/m": Link("/etc/passwd"), "lib/n": Link("l")}],
    "absolute links": [{"a": Link("/etc/passwd"), "usr/share/a": Link("/usr/lib"), "x/y/z": Link("/"), "q": Link("/nowhere/at/all")}],
    "link through an absolute link": [{"t": Link("/usr/share/t")}, {"t/l": Link("/etc/passwd"), "t/m": Link("../m")}],
    "three times": [{"t/x": "a\n", "t/y": "a\n"}, {"t/x": "b\n"}, {"t/x": Exec("c\n"), "t/y": Link("x")}],
    "nothing": [{"empty": None}, {"empty": None}],
    "directories of BuildStream": [{"buildstream/x": "x\n", "dev/made": "d\n", "tmp/t": "t\n", "proc/p": "p\n"}],
    "something where artifacts are collected": [{"buildstream-install/left": "over\n"}],
    "something where sources go": [{"buildstream/test/cases/root-of-something-where-sources-go.bst/x": "x\n"}],
    "tmp is a link": [{"tmp": Link("var/tmp"), "var/tmp/x": "x\n"}],
    "names": [{"a b": "1", "new\nline": "2", "tab\t": "3", "q'\"": "4", "back\\slash": "5", "-n": "6", "ü": "7", "a:b,c": "8"}, {"a b": "9", "new\nline": "x"}],
    "names of whiteouts": [A, {"t/.wh.x": "w\n", ".wh..wh..opq": "o\n"}],
    "modes": [{"m/x": Mode(0o640, "x\n"), "m": Mode(0o750), "s": Mode(0o4755, "s\n"), "w": Mode(0o666, "w\n")}, {"m/y": Mode(0o600, "y\n")}],
    "sticky": [{"var/tmp": Mode(0o1777)}, {"var/tmp/x": "x\n"}],
    "replaced where others look": [{"etc/passwd": Link("shadow"), "etc/shadow": "s\n"}, {"etc/passwd/x": "x\n"}],
    "empty directory over link": [{"t": Link("usr/lib")}, {"t": None}],
    "directory over a link within the same": [{"t": Link("usr/share")}, {"t": Mode(0o700), "t/x": "x\n"}],
}  # fmt: skip

DIRECTORIES = ("a", "b", "a/c", "usr/lib", "lib", "usr")
NAMES = ("x", "y", "c", "lib")


def random_case(seed):
    """A few artifacts that meet in few places, as links, files and directories."""
    chance = random.Random(seed)
    layers = []
    for layer in range(chance.randint(2, 4)):
        entries = {}
        for _ in range(chance.randint(1, 6)):
            path = f"{chance.choice(DIRECTORIES)}/{chance.choice(NAMES)}" if chance.random() < 0.8 else chance.choice("ab")
            if any(other == path or other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in entries):
                continue
            kind = chance.random()
            if kind < 0.45:
                entries[path] = f"{layer} {path}\n" if chance.random() < 0.8 else "same\n"
            elif kind < 0.75:
                target = chance.choice(DIRECTORIES + ("x", "a/x", "nowhere"))
                entries[path] = Link(f"/{target}" if chance.random() < 0.5 else "../" * path.count("/") + target)
            else:
                entries[path] = None
        layers.append(entries or {"only": "x\n"})
    return layers
