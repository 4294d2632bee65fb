# SPDX-License-Identifier: Apache-2.0
"""Element.integrate: integration commands run once for a list of layers, and what they change becomes another layer.

What they see is the layers below, the commands that ran before, their environment and ids. A rebuild, and every
other element with the same dependencies, mounts that layer instead of running them; what they wrote then is
written again.
"""

import os

from buildstream.element import ElementError

import strata

from . import output, places, session
from .session import Item

_KIND = "integrated"


def wrap(original):
    def integrate(self, sandbox):
        place = session.find(sandbox.get_directory())
        commands = _commands(self) if place and not place.linked else []
        made = place.made() if commands else None
        if made is None:
            original(self, sandbox)
            return
        name = _name(place, [made, commands, sorted(self.get_environment().items())], sandbox)
        kept = places.read_kept(place.context, _KIND, name)
        if kept is None or not _show(place, kept["layer"]):
            _run(self, sandbox, place, commands, name)
        else:
            for command, texts in zip(commands, kept["said"]):
                self.status("Running integration command", detail=command)
                output.repeat(sandbox, texts)
        place.integrated.append(name)
        # As running them does.
        for mark in sandbox._get_marked_directories():
            os.makedirs(os.path.join(place.root, mark["directory"].lstrip(os.sep)), exist_ok=True)

    return integrate


def _commands(element):
    data = element.get_public_data("bst")
    if data is None:
        return []
    count = len(element.node_get_member(data, list, "integration-commands", []))
    return [element.node_subst_list_element(data, "integration-commands", [at]) for at in range(count)]


def _name(place, seen, sandbox):
    config = sandbox._get_config()
    return places.digest([place.items, place.integrated, seen, config.build_uid, config.build_gid, config.build_arch])


def _show(place, layer):
    """Whether the layer is there (None: nothing was changed); if so, the root has it."""
    if layer is None:
        return True
    try:
        place.show(place.items + [Item(None, layer, None)])
    except strata.Error as problem:
        if problem.code != strata.E_NOT_FOUND:  # gc has taken it
            raise
        return False
    return True


def _run(element, sandbox, place, commands, name):
    # A sandbox makes the directories that it mounts something at. They are nothing that the commands have changed.
    missing = _missing_directories(place.root, sandbox)
    said = _run_commands(element, sandbox, commands)
    for path in reversed(missing):
        if os.path.isdir(path) and not os.listdir(path):
            os.rmdir(path)
    items = place.items
    try:
        layer = place.capture()
    except strata.Error as problem:
        element.log("What integration commands made cannot be kept, so they run again", detail=str(problem))
        place.show(items)
        _run_commands(element, sandbox, commands)
        return
    place.show(items + ([Item(None, layer, None)] if layer else []))
    places.keep(place.context, _KIND, name, {"layer": layer, "said": said}, items)


def _run_commands(element, sandbox, commands):
    """What each of them wrote: to the log, or to standard output and error."""
    said = []
    for command in commands:
        element.status("Running integration command", detail=command)
        with output.recorded(sandbox) as recorded:
            status = sandbox.run(["sh", "-e", "-c", command], 0, env=element.get_environment(), cwd="/")
        if status != 0:
            raise ElementError(f"Command '{command}' failed with exitcode {status}")
        said.append(recorded.texts)
    return said


def _missing_directories(root, sandbox):
    """Those of the marked directories and their parents that are not there, parents first."""
    missing = []
    for mark in sandbox._get_marked_directories():
        path = root
        for part in mark["directory"].strip(os.sep).split(os.sep):
            path = os.path.join(path, part)
            if not os.path.lexists(path) and path not in missing:
                missing.append(path)
    return missing
