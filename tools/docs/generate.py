# SPDX-License-Identifier: Apache-2.0
"""Writes the manual pages and the completions of shells below --output. See CMakeLists.txt."""

import argparse
import json
import re
from pathlib import Path

import completion
import header
import man
import mount
import roff

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent


def page_file(name, section):
    return (HERE / "pages" / f"{name}.{section}.md").read_text(encoding="utf-8")


def strata_page(commands):
    page = man.Page("strata", 1, "stage build dependencies without copying or linking a file",
                    {"COMMAND", "LAYER", "ARGUMENTS", "PATH", "KEY", "GLOB", "PREFIX", "REF"})
    page.add("SYNOPSIS", man.synopsis("strata", "COMMAND [OPTIONS] [ARGUMENTS]", page.metavars)
             + "\n" + man.synopsis("strata", "help [COMMAND]", page.metavars)
             + "\n" + man.synopsis("strata", "--version", page.metavars))
    page.add("DESCRIPTION", "")
    page.add("COMMANDS", "\n".join(
        roff.tagged(f"{roff.bold('strata-' + command['name'])}(1)", command["summary"] + ".")
        for command in commands))
    page.add_file(page_file("strata", 1))
    return page


def bwrap_page(table):
    usage = "[OPTIONS...] [--] COMMAND [ARGS...]"
    metavars = man.metavars_of(usage, *(option["form"] for option in table["options"]))
    page = man.Page("strata-bwrap", 1, "run a command in a sandbox, with the command line of bubblewrap", metavars)
    page.add("SYNOPSIS", man.synopsis("strata-bwrap", usage, metavars))
    man.add_description(page, table["description"])
    out = []
    for option in table["options"]:
        if option["group"]:
            out.append(f".SS {roff.quoted(option['group'])}")
        names, values = completion.split_form(option["form"])
        tag = " ".join([", ".join(map(roff.bold, names)), *map(roff.italic, values)])
        out.append(roff.tagged(tag, man.sentence(option["help"]), metavars))
    page.add("OPTIONS", "\n".join(out))
    page.add_file(page_file("strata-bwrap", 1))
    return page


def bst_page():
    """Its options are those of bst(1)."""
    page = man.Page("strata-bst", 1, "bst, staging through strata", {"COMMAND", "ARGS", "OPTIONS"})
    page.add("SYNOPSIS", man.synopsis("strata-bst", "[OPTIONS] COMMAND [ARGS...]", page.metavars))
    page.add_file(page_file("strata-bst", 1))
    return page


def store_page():
    page = man.Page("strata-store", 5, "the directories and files of a store")
    title, _, body = (SOURCE / "cache/format.md").read_text(encoding="utf-8").partition("\n")
    version = re.search(r"version (\d+)", title)[1]
    page.add_markup("DESCRIPTION", f"This is version {version} of the format.\n\n" + body)
    page.add_file(page_file("strata-store", 5))
    return page


def pages(tables):
    yield strata_page(tables["strata"])
    for command in tables["strata"]:
        yield man.command_page(command, page_file("strata-" + command["name"], 1))
    yield bwrap_page(tables["strata-bwrap"])
    yield mount.page(tables["strata-mount"], page_file("strata-mount", 1))
    yield bst_page()
    yield store_page()


def write_header_pages(directory, version):
    """strata.h(3), and for each function a page that leads there."""
    text = (SOURCE / "tools/libstrata/strata.h").read_text(encoding="utf-8")
    page, functions = header.page(text, page_file("strata.h", 3))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "strata.h.3").write_text(page.text(version), encoding="utf-8")
    for name in functions:
        (directory / f"{name}.3").write_text(".so man3/strata.h.3\n", encoding="utf-8")


def completions(tables):
    store = completion.store_parts()
    return {**completion.files(tables, store), **mount.completions(tables["strata-mount"], store)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    tables = json.loads(arguments.tables.read_text(encoding="utf-8"))
    for page in pages(tables):
        path = arguments.output / f"man/man{page.section}" / f"{page.name}.{page.section}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page.text(arguments.version), encoding="utf-8")
    write_header_pages(arguments.output / "man/man3", arguments.version)
    # The name by which mount(8) finds it.
    path = arguments.output / "man/man8/mount.strata.8"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(".so man1/strata-mount.1\n", encoding="utf-8")
    for name, content in completions(tables).items():
        path = arguments.output / "completions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


main()
