# SPDX-License-Identifier: Apache-2.0
"""The files of an artifact that some split domains pick, as a directory of hardlinks that is made once.

It goes away with the artifact's extracted files.
"""

import os
import shutil
import tempfile

from buildstream import utils

from . import places

_KIND = "filtered"


def tree(element, files, key, include, exclude, orphans):
    """(directory, its key) with what Element.stage_artifact would stage of `files`."""
    if not element._Element__splits:
        element._Element__init_splits()
    rules = [(domain, rule.pattern) for domain, rule in element._Element__splits.items()]
    name = places.digest([key, rules, sorted(include or ()), sorted(exclude or ()), bool(orphans)])
    directory = places.kept_directory(element._get_context(), _KIND)
    made = os.path.join(directory, name)
    result = os.path.join(made, "tree")
    if not os.path.isdir(result):
        _make(element, files, made, include, exclude, orphans)
    return result, name


def _make(element, files, made, include, exclude, orphans):
    temporary = tempfile.mkdtemp(dir=os.path.dirname(made), prefix=".")
    try:
        os.symlink(files, os.path.join(temporary, "of"))
        inside = os.path.join(temporary, "tree")
        os.mkdir(inside)
        utils.link_files(files, inside, files=list(element._Element__compute_splits(include, exclude, orphans)))
        os.rename(temporary, made)
    except BaseException as problem:
        shutil.rmtree(temporary, ignore_errors=True)
        # Another job has made it meanwhile.
        if not (isinstance(problem, OSError) and os.path.isdir(os.path.join(made, "tree"))):
            raise
