# SPDX-License-Identifier: Apache-2.0
"""What strata-bst does: looks whether all it needs is there, patches, and calls bst's own main."""

import sys

import strata

from . import patches, places


def main():
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


def _refuse(problem):
    print(f"strata-bst: {problem}", file=sys.stderr)
    return 255


def apply_patches(bwrap):
    # pylint: disable=import-outside-toplevel
    from buildstream import element, utils
    from buildstream._artifactcache.artifactcache import ArtifactCache
    from buildstream._scheduler.jobs.job import Job
    from buildstream.sandbox import _mount

    from . import artifacts, integration, links, shell, staging

    replace = patches.replace
    replace(Job, "_child_action", "self queue", wrap_child_action)
    replace(ArtifactCache, "commit", "self element content keys", artifacts.wrap_commit)
    replace(utils, "get_host_tool", "name", lambda original: wrap_get_host_tool(original, bwrap))
    replace(utils, "safe_link", "src dest result", links.wrap_safe_link)
    replace(utils, "_force_rmtree", "rootpath **", links.wrap_force_rmtree)
    replace(_mount.Mount, "__init__", "self sandbox mount_point safe_hardlinks", wrap_mount_init)
    replace(
        element.Element,
        "stage_dependency_artifacts",
        "self sandbox scope path include exclude orphans",
        staging.wrap,
    )
    replace(element.Element, "integrate", "self sandbox", integration.wrap)
    replace(element.Element, "_shell", "self scope directory mounts isolate prompt command", shell.wrap)


def wrap_child_action(original):
    """A build enters its namespace before it has its first thread, which sends its messages."""
    from . import namespace  # pylint: disable=import-outside-toplevel

    def _child_action(self, queue):
        if self.action_name == "Build":
            try:
                namespace.enter()
            except OSError:
                pass  # staged by BuildStream's own means
        original(self, queue)

    return _child_action


def wrap_get_host_tool(original, bwrap):
    def get_host_tool(name):
        return bwrap if name == "bwrap" else original(name)

    return get_host_tool


def wrap_mount_init(original):
    """Nothing in an overlay is a hardlink that had to be guarded by FUSE."""
    from . import session  # pylint: disable=import-outside-toplevel

    def __init__(self, sandbox, mount_point, safe_hardlinks):
        original(self, sandbox, mount_point, safe_hardlinks and session.find(sandbox.get_directory()) is None)

    return __init__
