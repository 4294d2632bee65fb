# SPDX-License-Identifier: Apache-2.0
"""Manual pages of commands: what the tables say, and what pages/NAME.SECTION.md adds."""

import re

import roff

# Where a section of pages/ goes; one that is not named here comes after OPTIONS.
LAST_SECTIONS = ("EXIT STATUS", "ENVIRONMENT", "FILES", "NOTES", "EXAMPLES", "SEE ALSO")


def sections(text):
    """{heading: text} of a file of pages/, in its order."""
    found = {}
    for part in re.split(r"^## ", text, flags=re.M)[1:]:
        heading, _, body = part.partition("\n")
        found[heading.strip()] = body.strip("\n")
    return found


def is_about_exit_status(paragraph):
    return re.match(r"The exit status|Exit status|Exits with", paragraph) is not None


def metavars_of(*usages):
    """The words that stand for something else: LAYER, DST, HOSTDIR."""
    return {word for usage in usages for word in re.findall(r"[A-Z]{1,}", usage or "")} - {"OPTIONS"}


def synopsis(program, usage, metavars):
    """`usage` with what is typed in bold."""
    words = []
    for word in usage.split():
        pieces = re.split(r"([\[\]|]+|\.\.\.)", word)
        words.append("".join(
            piece if not piece or re.fullmatch(r"[\[\]|.]+", piece) else roff.code(piece, {*metavars, "OPTIONS"})
            for piece in pieces
        ))
    return f".HP\n{roff.bold(program)} " + " ".join(words)


def value(metavar):
    """The value of an option: choices in bold, what stands for something in italics."""
    pieces = re.split(r"([A-Z]+|[a-z]+)", metavar)
    return "".join(
        roff.italic(piece) if piece.isupper() else roff.bold(piece) if piece.islower() else roff.escape(piece)
        for piece in pieces if piece
    )


class Page:
    def __init__(self, name, section, title, metavars=()):
        self.name, self.section, self.title = name, section, title
        self.metavars = metavars
        self.parts = {}  # heading: formatted text

    def add(self, heading, text):
        before = self.parts.get(heading)
        between = "\n" if text.startswith(".") else "\n.PP\n"
        self.parts[heading] = before + between + text if before else text

    def add_markup(self, heading, text):
        self.add(heading, roff.markup(text, self.metavars))

    def add_file(self, text):
        for heading, body in sections(text).items():
            self.add_markup(heading, body)

    def text(self, version):
        first = [heading for heading in self.parts if heading not in LAST_SECTIONS]
        last = [heading for heading in LAST_SECTIONS if heading in self.parts]
        out = [
            '.\\" Generated from the sources of strata: edit those.',
            f'.TH {roff.quoted(roff.escape(self.name.upper()))} {self.section} "" '
            f'{roff.quoted("strata " + version)} "strata manual"',
            # To the left, without hyphens that a name does not have, and with one space after a sentence
            # wherever its line ends. (Each heading sets hyphenation anew, from HY.)
            ".ad l\n.nr HY 0\n.nh\n.ss 12 0",
            # As it stands, apropos(1) reads it.
            f".SH NAME\n{roff.escape(self.name)} \\-\n{roff.filled(self.title)}",
        ]
        out += [f".SH {roff.quoted(heading)}\n{self.parts[heading]}" for heading in first + last]
        return "\n".join(out) + "\n"


def lower_first(text):
    return text[0].lower() + text[1:]


def add_description(page, description):
    """Paragraphs of a table's description; those about the exit status have a section of their own."""
    for paragraph in (description or "").split("\n\n"):
        if paragraph:
            page.add_markup("EXIT STATUS" if is_about_exit_status(paragraph) else "DESCRIPTION", paragraph)


def choices_of(metavar):
    """What can be given as it is: auto|dir has two, FILE none."""
    return set(re.findall(r"[a-z]+", metavar or ""))


def sentence(text, choices=()):
    """A help text as a sentence; `choice:` is marked as what is typed."""
    for choice in choices:
        text = re.sub(rf"(?<![`\w]){choice}:", f"`{choice}`:", text)
    return ("" if text.startswith("`") else text[0].upper()) + text[text[0] != "`" :] + "."


def options(specs, metavars):
    out = []
    for spec in specs:
        if spec["group"]:
            out.append(f".SS {roff.quoted(spec['group'])}")
        names = [f"-{spec['short']}"] if spec["short"] else []
        tag = ", ".join(roff.bold(name) for name in [*names, f"--{spec['name']}"])
        if spec["metavar"]:
            tag += " " + value(spec["metavar"])
        text = spec["help"] + (" (may be repeated)" if spec["repeatable"] else "")
        out.append(roff.tagged(tag, sentence(text, choices_of(spec["metavar"])), metavars))
    return "\n".join(out)


def command_page(command, extra):
    """strata-COMMAND(1)."""
    usages = [command["usage"], *(option["metavar"] for option in command["options"])]
    metavars = metavars_of(*usages)
    page = Page(f"strata-{command['name']}", 1, lower_first(command["summary"]), metavars)
    page.add("SYNOPSIS", synopsis(f"strata {command['name']}", command["usage"], metavars))
    add_description(page, command["description"] or command["summary"] + ".")
    page.add("OPTIONS", options(command["options"], metavars))
    if "EXIT STATUS" not in page.parts:
        page.add_markup("EXIT STATUS", f"0 when it is done, {command['failure_status']} when it could not be done, "
                        f"{command['usage_status']} for a command line that makes no sense.")
    page.add_file(extra)
    return page
