#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cook.py: what examples/c/cook.c does, in Python.

    cook.py [-n NAME] [-d DIR] ROOT SOURCES COMMAND...
"""

import argparse
import pathlib
import sys

import strata


def main():
    parser = argparse.ArgumentParser(description="Run a command on a root file system and keep what it makes.")
    parser.add_argument("-n", "--name", help="the name of the layer that has what COMMAND put into /out")
    parser.add_argument("-d", "--directory", help="in the end, leave ROOT with that layer on top at DIR")
    parser.add_argument("root", help="a tar or a directory with a root file system")
    parser.add_argument("sources", type=pathlib.Path, help="a directory, read-only at /src")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    wanted = parser.parse_args()

    with strata.Store() as store, store.import_(wanted.root) as base:
        with store.set(base.id).compose() as root, root.run(
            wanted.command, directory="/src", mounts=[("bind_ro", wanted.sources.resolve(), "/src")],
            flags=["capture"], output="/out", capture_ref=wanted.name,
        ) as result:  # fmt: skip
            if result.reason:
                print(f"cook: {result.reason}", file=sys.stderr)
            if result.layer_id:
                print(result.layer_id)
                if wanted.directory:
                    with store.set(base.id, result.layer_id).compose() as both:
                        both.stage_at(wanted.directory)
            return result.status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except strata.Error as error:
        sys.exit(f"cook: {error}")
