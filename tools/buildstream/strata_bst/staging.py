# SPDX-License-Identifier: Apache-2.0
"""Element.stage_dependency_artifacts: the dependencies' artifacts, where they lie, as the layers of the root."""

import contextlib
import os
import time

from buildstream import utils
from buildstream.element import CoreWarnings, ElementError, _overlap_error_detail

import strata

from . import filtered, namespace, overlaps, session
from .session import Item, Session


class Obstacle(Exception):
    """Why this root is staged by BuildStream's own means."""


def wrap(original):
    def stage_dependency_artifacts(self, sandbox, scope, *, path=None, include=None, exclude=None, orphans=True):
        obstacle = "no namespace to mount in"
        if namespace.entered():
            obstacle = _stage(self, sandbox, scope, path, include, exclude, orphans)
            if obstacle is None:
                return
            place = session.find(sandbox.get_directory())
            if place and place.linked and place.made() is not None:
                place.unguard()
        original(self, sandbox, scope, path=path, include=include, exclude=exclude, orphans=orphans)
        self.log("Not staged as an overlay", detail=obstacle)

    return stage_dependency_artifacts


def _stage(*arguments):
    """Why it was not done; None where it was."""
    try:
        _stage_layers(*arguments)
    except Obstacle as obstacle:
        return str(obstacle)
    return None


def _stage_layers(element, sandbox, scope, path, include, exclude, orphans):
    place = _open_place(element, sandbox)
    dependencies = list(element.dependencies(scope))
    for dependency in dependencies:
        _check_cached(dependency)
    view = path.strip(os.sep) if path else ""
    view = f"at=/{view}" if view else None
    items = [_item(dependency, view, include, exclude, orphans) for dependency in dependencies]
    # A layer that is there already counts where it comes last, as if it were staged once more.
    earlier = [item for item in place.items if item not in items]
    if len(set(items)) != len(items):
        raise Obstacle("an artifact is staged twice")
    try:
        report = overlaps.find(place.context, place.store(), earlier + items, len(earlier))
        if report.obstacle:
            raise Obstacle(report.obstacle)
        to_update = _files_to_update(element, dependencies)
        for dependency in dependencies:
            with dependency.timed_activity(f"Staging {dependency.name}/{dependency._get_brief_display_key()}"):
                pass  # told as ever; all of them take one mount
        if earlier + items != place.items:
            place.show(earlier + items)
    except (strata.Error, OSError) as problem:
        raise Obstacle(str(problem)) from problem
    told = [(spelled, [dependencies[at - len(earlier)].name for at in members]) for spelled, members in report.overlaps]
    _update(place, dependencies, to_update, view, told)
    _warn(element, scope, told)


def _open_place(element, sandbox):
    """The Session that can take more layers."""
    root = sandbox.get_directory()
    place = session.find(root)
    if place is None:
        if os.listdir(root):
            raise Obstacle("the sandbox is not empty")
        return Session(sandbox)
    if place.linked:
        raise Obstacle("the sandbox was staged by hardlinks before")
    if place.made() is None:
        raise Obstacle("something was written in the sandbox before")
    return place


def _check_cached(dependency):
    if not dependency._cached():
        raise ElementError(
            "No artifacts to stage",
            detail="No artifacts have been cached yet for that element\nTry building the element first with `bst build`\n",
            reason="uncached-checkout-attempt",
        )
    dependency._Element__assert_cached()


def _item(dependency, view, include, exclude, orphans):
    base, _ = dependency._Element__extract()
    # The last component is the digest of all that is in there.
    files, key = os.path.join(base, "files"), os.path.basename(base)
    if not orphans or include or exclude:
        files, key = filtered.tree(dependency, files, key, include, exclude, orphans)
    return Item(files, key, view)


def _files_to_update(element, dependencies):
    """{dependency: files}: what an incremental build in a workspace must see as changed now."""
    workspace = element._get_workspace()
    context = element._get_context()
    artifacts = element._Element__artifacts
    old_keys = {}
    if element._Element__can_build_incrementally() and workspace.last_successful:
        if artifacts.contains(element, workspace.last_successful):
            old_keys = element._Element__get_artifact_metadata_dependencies(workspace.last_successful)
        else:
            workspace.prepared = False
            workspace.last_successful = None
            element.info("Resetting workspace state, last successful build is no longer in the cache")
            if utils._is_main_process():
                context.get_workspaces().save_config()
    found = {}
    for dependency in dependencies:
        if not workspace or dependency.name not in old_keys:
            continue
        to_update, _, added = artifacts.diff(
            dependency, old_keys[dependency.name], dependency._get_cache_key(), subdir="files"
        )
        workspace.add_running_files(dependency.name, to_update + added)
        to_update.extend(workspace.running_files[dependency.name])
        if utils._is_main_process():
            context.get_workspaces().save_config()
        found[dependency.name] = to_update
    return found


def _update(place, dependencies, to_update, view, told):
    """Gives those files the time of now, unless another element's is shown."""
    winners = {spelled: names[-1] for spelled, names in told}
    stagedir = os.path.join(place.root, view[len("at=/") :]) if view else place.root
    for dependency in dependencies:
        now = time.time()
        for path in set(to_update.get(dependency.name, ())):
            if winners.get(path, dependency.name) == dependency.name:
                with contextlib.suppress(FileNotFoundError):
                    os.utime(os.path.join(stagedir, path), times=(now, now))


def _warn(element, scope, told):
    warned = False
    detail = "Staged files overwrite existing files in staging area:\n"
    for path, names in told:
        forbidden = [
            name for name in names[1:] if not element.search(scope, name)._Element__file_is_whitelisted(path)
        ]
        warned = warned or bool(forbidden)
        detail += _overlap_error_detail(path, forbidden, names)
    if warned:
        element.warn("Non-whitelisted overlaps detected", detail=detail, warning_token=CoreWarnings.OVERLAPS)
