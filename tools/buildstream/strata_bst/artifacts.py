# SPDX-License-Identifier: Apache-2.0
"""What a job commits, others will stage: it is extracted and read by the job, where that delays nobody else.

BuildStream extracts an artifact when it is first staged, one after the other. What is extracted here and how is
BuildStream's own doing; strata only reads the directory, which it does once for ever.
"""

import os

from buildstream._exceptions import BstError
from buildstream._message import MessageType

import strata

from . import places
from .session import Item, wanted_set


def wrap_commit(original):
    def commit(self, element, content, keys):
        keys = list(keys)
        original(self, element, content, keys)
        # An import is made to be staged, also when that will be in another run.
        if element.get_kind() == "import" or element._Element__reverse_dependencies:
            _prepare(self, element, keys[0])

    return commit


def wrap_clean(original):
    """BuildStream's own cleaning up, then that of what was made of the artifacts that are gone."""

    def clean(self, progress=None):
        size = original(self, progress)
        places.sweep(self.context)
        try:
            places.store(self.context).gc()
        except strata.Error as problem:
            self._message(MessageType.WARN, "The store of strata could not be cleaned up", detail=str(problem))
        return size

    return clean


def _prepare(artifacts, element, key):
    try:
        base = artifacts.extract(element, key)
        item = Item(os.path.join(base, "files"), os.path.basename(base), None)
        wanted_set(places.store(element._get_context()), [item]).overlaps()
    except (BstError, strata.Error) as problem:
        # Whoever stages it will find the same.
        element.log("This artifact is not ready to be staged", detail=str(problem))
