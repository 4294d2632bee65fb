# SPDX-License-Identifier: Apache-2.0
"""What strata-bst does: looks whether all it needs is there, patches, and calls bst's own main."""

import contextlib
import os
import sys

import strata

from . import patches, places


def main():
    if "_BST_COMPLETION" in os.environ:  # of words, by a shell; then buildstream loads next to nothing, and stages nothing
        return _complete()
    try:
        # Only what bst needs to say its version and its help; the rest when it is about to work.
        import buildstream  # pylint: disable=import-outside-toplevel

        patches.check_version(buildstream.__version__)
        bwrap = places.bwrap()
        if bwrap is None:
            raise patches.Mismatch("there is no strata-bwrap beside strata-bst, nor in PATH ($STRATA_BWRAP)")
        strata.version()
        from buildstream._frontend import cli  # pylint: disable=import-outside-toplevel

        apply_patches(bwrap)
    except ImportError as problem:
        return _refuse(f"BuildStream {patches.KNOWN_VERSION} is needed: {problem}")
    except (patches.Mismatch, OSError) as problem:
        return _refuse(problem)
    sys.argv[0] = "bst"
    return cli()


def _complete():
    try:
        from buildstream._frontend import cli  # pylint: disable=import-outside-toplevel
    except ImportError as problem:
        return _refuse(f"BuildStream {patches.KNOWN_VERSION} is needed: {problem}")
    sys.argv[0] = "bst"
    return cli()


def _refuse(problem):
    print(f"strata-bst: {problem}", file=sys.stderr)
    return 255


def apply_patches(bwrap):
    # pylint: disable=import-outside-toplevel
    from buildstream import element, utils
    from buildstream._artifactcache.artifactcache import ArtifactCache
    from buildstream._scheduler.jobs.job import Job
    from buildstream._stream import Stream
    from buildstream.sandbox import _mount

    from . import artifacts, integration, links, shell, staging

    replace = patches.replace
    replace(Job, "_child_action", "self queue", wrap_child_action)
    replace(ArtifactCache, "clean", "self progress", artifacts.wrap_clean)
    replace(ArtifactCache, "commit", "self element content keys", artifacts.wrap_commit)
    replace(utils, "get_host_tool", "name", lambda original: wrap_get_host_tool(original, bwrap))
    replace(utils, "link_files", "src dest files ignore_missing report_written", links.wrap_link_files)
    replace(utils, "safe_link", "src dest result", links.wrap_safe_link)
    replace(utils, "_force_rmtree", "rootpath **", links.wrap_force_rmtree)
    replace(_mount.Mount, "__init__", "self sandbox mount_point safe_hardlinks", wrap_mount_init)
    replace(
        element.Element,
        "stage_dependency_artifacts",
        "self sandbox scope path include exclude orphans",
        staging.wrap,
    )
    replace(element.Element, "_assemble", "self", links.wrap_assemble)
    replace(element.Element, "integrate", "self sandbox", integration.wrap)
    replace(Stream, "_checkout_hardlinks", "self sandbox_root directory", links.wrap_checkout_hardlinks)
    replace(element.Element, "_prepare_sandbox", "self scope directory deps integrate", wrap_prepare_sandbox)
    replace(element.Element, "_shell", "self scope directory mounts isolate prompt command", shell.wrap)


def wrap_child_action(original):
    """A build enters its namespace before it has its first thread, which sends its messages."""
    from . import namespace  # pylint: disable=import-outside-toplevel

    def _child_action(self, queue):
        if self.action_name == "Build":
            # Where that fails, it is staged by BuildStream's own means.
            with contextlib.suppress(OSError):
                namespace.enter()
        original(self, queue)

    return _child_action


def wrap_prepare_sandbox(original):
    """`bst checkout` stages in the main process, and as the last thing that it does."""
    from . import namespace, session  # pylint: disable=import-outside-toplevel

    @contextlib.contextmanager
    def _prepare_sandbox(self, scope, directory, deps="run", integrate=True):
        if len(os.listdir("/proc/self/task")) == 1:
            with contextlib.suppress(OSError):
                namespace.enter()
        try:
            with original(self, scope, directory, deps=deps, integrate=integrate) as sandbox:
                yield sandbox
        except BaseException:
            # BuildStream leaves its directory, with the links, to nobody's use.
            for place in session.all_of_them() if directory is None else []:
                place.discard()
            raise

    return _prepare_sandbox


def wrap_get_host_tool(original, bwrap):
    def get_host_tool(name):
        return bwrap if name == "bwrap" else original(name)

    return get_host_tool


def wrap_mount_init(original):
    """Hardlinks are guarded by an overlay instead of FUSE; in one of layers there are none."""
    from . import namespace, session  # pylint: disable=import-outside-toplevel

    def __init__(self, sandbox, mount_point, safe_hardlinks):
        place = session.find(sandbox.get_directory())
        if place is not None:
            place.guard_plain()
        if safe_hardlinks and namespace.entered():
            if place is None:
                session.Session(sandbox).guard()
            safe_hardlinks = False
        original(self, sandbox, mount_point, safe_hardlinks)

    return __init__
