# SPDX-License-Identifier: Apache-2.0
"""An element kind of the tests: it stages its dependencies as it is told, and says what BuildStream told it."""

import os

from buildstream import Element, Scope


class SpotElement(Element):
    BST_FORBID_SOURCES = True

    def configure(self, node):
        self.node_validate(node, ["stages", "look", "command", "collect", "integrate"])
        self.stages = self.node_get_member(node, list, "stages", [])
        self.look = self.node_get_member(node, bool, "look", False)  # from outside of the sandbox
        self.integration = self.node_get_member(node, bool, "integrate", False)
        self.command = self.node_subst_member(node, "command", "")
        self.collect = self.node_subst_member(node, "collect", "/")

    def preflight(self):
        pass

    def get_unique_key(self):
        return [[dict(stage) for stage in self.stages], self.look, self.integration, self.command, self.collect]

    def configure_sandbox(self, sandbox):
        sandbox.set_environment(self.get_environment())
        sandbox.set_work_directory("/")

    def stage(self, sandbox):
        for number in range(len(self.stages)):
            stage = self.stages[number]
            options = {
                "path": self.node_get_member(stage, str, "path", "") or None,
                "include": self.node_get_member(stage, list, "include", []) or None,
                "exclude": self.node_get_member(stage, list, "exclude", []) or None,
                "orphans": self.node_get_member(stage, bool, "orphans", True),
            }
            name = self.node_get_member(stage, str, "element", "")
            with self.timed_activity(f"Stage {number}", silent_nested=True):
                if name:
                    result = self.search(Scope.BUILD, name).stage_artifact(sandbox, **options)
                    self.info(f"written {sorted(result.files_written)}")
                    self.info(f"overwritten {sorted(result.overwritten)} ignored {sorted(result.ignored)}")
                else:
                    self.stage_dependency_artifacts(sandbox, Scope.BUILD, **options)
        if self.look:
            top = sandbox.get_directory()
            for directory, names, files in os.walk(top):
                names.sort()
                shown = os.path.relpath(directory, top)
                if not shown.startswith("usr/bin"):
                    self.info(f"there is {shown}: {sorted(names)} {sorted(files)}")
            with open(os.path.join(top, "made-outside"), "w", encoding="utf-8") as file:
                file.write("by the plugin\n")

    def assemble(self, sandbox):
        if self.integration:
            for dep in self.dependencies(Scope.BUILD):
                dep.integrate(sandbox)
        if self.command:
            self.info(f"exit status {sandbox.run(['sh', '-e', '-c', self.command], 0)}")
        return self.collect


def setup():
    return SpotElement
