# SPDX-License-Identifier: Apache-2.0
"""The store, strata-bwrap, and a directory for what is kept between runs.

The store is $STRATA_STORE, else "strata" beside BuildStream's artifacts: on their file system, so that their files
can be hardlinked where a long list of layers is joined.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
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
    beside = os.path.join(os.path.dirname(os.path.realpath(sys.argv[0])), "strata-bwrap")
    for path in (os.environ.get("STRATA_BWRAP"), beside if os.access(beside, os.X_OK) else None):
        if path:
            return path
    return shutil.which("strata-bwrap")


def digest(value):
    """A name for a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _kept(context):
    return os.path.join(os.path.dirname(context.artifactdir.rstrip("/")), "strata-bst")


def kept_directory(context, kind):
    path = os.path.join(_kept(context), kind)
    os.makedirs(path, exist_ok=True)
    return path


def read_kept(context, kind, name):
    """What was kept, a dict; None where there is none."""
    return _read(os.path.join(_kept(context), kind, name))


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return None


def keep(context, kind, name, value, items):
    """Keeps a dict, as long as the layers are there."""
    value = dict(value, of=[item.path for item in items if item.path])
    fd, temporary = tempfile.mkstemp(dir=kept_directory(context, kind), prefix=".")
    with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(value, file)
    os.rename(temporary, os.path.join(_kept(context), kind, name))


def sweep(context):
    """Removes what was kept of layers that are gone."""
    for kind in ("filtered", "integrated", "sets"):  # the first one has layers of the others
        for entry in os.scandir(kept_directory(context, kind)):
            if entry.is_dir(follow_symlinks=False):
                if not os.path.exists(os.path.join(entry.path, "of")):
                    shutil.rmtree(entry.path, ignore_errors=True)
                continue
            kept = _read(entry.path)
            if kept is None or not all(map(os.path.isdir, kept["of"])):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)
