# SPDX-License-Identifier: Apache-2.0
"""An element kind of the tests: it links all that was staged to another directory, and runs a command then."""

import os

from buildstream import Element, Scope, utils


class LinkerElement(Element):
    BST_FORBID_SOURCES = True

    def configure(self, node):
        self.node_validate(node, ["command"])
        self.command = self.node_subst_member(node, "command")

    def preflight(self):
        pass

    def get_unique_key(self):
        return self.command

    def configure_sandbox(self, sandbox):
        sandbox.set_environment(self.get_environment())

    def stage(self, sandbox):
        self.stage_dependency_artifacts(sandbox, Scope.BUILD)

    def assemble(self, sandbox):
        top = sandbox.get_directory()
        collected = os.path.join(top, "collected")
        os.mkdir(collected)
        utils.link_files(top, collected, files=["usr/lib/libx", "usr/include/x.h"])
        assert sandbox.run(["sh", "-e", "-c", self.command], 0, cwd="/") == 0
        return "/collected"


def setup():
    return LinkerElement
