# SPDX-License-Identifier: Apache-2.0
"""A project of four elements, for what is tried many times."""

from trees import Exec, busybox_root, write_element, write_import, write_project

INTEGRATE = 'public:\n  bst:\n    integration-commands:\n    - ls /usr/lib > /etc/cache; echo integrated\n'


def write_small(top, *lines, plugins=()):
    write_project(top, *lines, plugins=plugins)
    write_import(top, "base", busybox_root())
    write_import(top, "lib", {"usr/lib/libx": "x\n", "usr/include/x.h": "#x\n", "usr/share/doc/x": "doc\n"}, INTEGRATE, depends=["base"])
    write_element(
        top,
        "app",
        "manual",
        "config:\n  build-commands:\n  - |\n    for c in *.c; do if [ ! -e $c.o ] || [ $c -nt $c.o ]; then echo compiling $c; cat /usr/include/x.h $c > $c.o; fi; done\n"
        "  install-commands:\n  - |\n    mkdir -p %{install-root}/usr/bin; cat *.o /etc/cache > %{install-root}/usr/bin/app; chmod 755 %{install-root}/usr/bin/app\n",
        depends=["lib"],
        source={"a.c": "a\n", "b.c": "b\n", "script": Exec("#!/bin/sh\necho script\n")},
    )
    write_element(top, "other", "manual", "config:\n  install-commands:\n  - touch %{install-root}/other\n", depends=["app"])
