# SPDX-License-Identifier: Apache-2.0
"""The store, strata-bwrap, and a directory for what is kept between runs.

The store is $STRATA_STORE, else "strata" beside BuildStream's artifacts: on their file system, so that their files
can be hardlinked where a long list of layers is joined.
"""

import hashlib
import json
import os
import shutil
import tempfile

import strata

_store = None  # of this process: (pid, Store)


def store(context):
    global _store  # pylint: disable=global-statement
    if _store is None or _store[0] != os.getpid():
        path = os.environ.get("STRATA_STORE")
        if not path:
            path = os.path.join(os.path.dirname(context.artifactdir.rstrip("/")), "strata")
            os.makedirs(os.path.dirname(path), exist_ok=True)
        _store = (os.getpid(), strata.Store(path))
    return _store[1]


def bwrap():
    """$STRATA_BWRAP, or strata-bwrap from beside strata-bst or from PATH. None: there is none."""
    beside = os.path.join(os.path.dirname(os.path.realpath(os.sys.argv[0])), "strata-bwrap")
    for path in (os.environ.get("STRATA_BWRAP"), beside if os.access(beside, os.X_OK) else None):
        if path:
            return path
    return shutil.which("strata-bwrap")


def digest(value):
    """A name for a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def kept_directory(context, kind):
    path = os.path.join(os.path.dirname(context.artifactdir.rstrip("/")), "strata-bst", kind)
    os.makedirs(path, exist_ok=True)
    return path


def read_kept(context, kind, name):
    """The JSON value that was kept; None where there is none."""
    path = os.path.join(os.path.dirname(context.artifactdir.rstrip("/")), "strata-bst", kind, name)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return None


def keep(context, kind, name, value):
    directory = kept_directory(context, kind)
    fd, temporary = tempfile.mkstemp(dir=directory, prefix=".")
    with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(value, file)
    os.rename(temporary, os.path.join(directory, name))
