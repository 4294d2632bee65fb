# SPDX-License-Identifier: Apache-2.0
"""More dependencies than an overlay can stack."""

from trees import busybox_root, write_element, write_import, write_listing, write_project

MANY = 40  # more than are mounted as they are


def write(top):
    write_project(top)
    write_import(top, "base", busybox_root())
    for number in range(MANY):
        write_import(top, f"part-{number}", {f"usr/lib/part-{number}": "p\n", "usr/lib/last": f"{number}\n", f"lib/through-{number}": "t\n"}, depends=["base"])
    names = [f"part-{number}" for number in range(MANY)]
    write_listing(top, "listing", build=names)
    write_listing(top, "one-less", build=names[1:])
    write_element(top, "composed", "compose", build=names)


def test_many_dependencies_are_one_root(pair):
    pair.write(write)
    said = pair.bst("build", "listing.bst", "one-less.bst", "composed.bst", status=0)
    pair.same_artifacts()
    pair.same_messages(*said)
    pair.same_logs()
