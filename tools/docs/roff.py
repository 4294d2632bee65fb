# SPDX-License-Identifier: Apache-2.0
"""From a small part of Markdown to the macros of man(7).

Known are: `## HEADING` and `### HEADING`, paragraphs, `* items`, code indented by four columns,
definitions (a line TERM, then lines that start with `:   `), `code` and [links](away).
"""

import re
import textwrap

# What fits between the indentation of an example and the right margin of 80 columns.
CODE_WIDTH = 71
# Of the text that is formatted: mandoc wants input lines below 80 bytes.
LINE_WIDTH = 76


def escape(text):
    """Text as it is, with ASCII hyphens and quotes that can be copied from a terminal."""
    text = text.replace("\\", "\\e")
    for plain, roff in (("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")):
        text = text.replace(plain, roff)
    return "".join(c if ord(c) < 128 else f"\\[u{ord(c):04X}]" for c in text)


def bold(text):
    return f"\\fB{escape(text)}\\fR"


def italic(text):
    return f"\\fI{escape(text)}\\fR"


def quoted(text):
    """An argument of a macro."""
    return '"' + text.replace('"', '\\(dq') + '"'


def guarded(line):
    """A line of text must not be taken for a macro."""
    return "\\&" + line if line[:1] in (".", "'") else line


def code(text, metavars):
    """In bold, but for the words that stand for something else."""
    parts = re.split(rf"\b({'|'.join(sorted(metavars))})\b", text) if metavars else [text]
    return "".join((italic if i % 2 else bold)(part) for i, part in enumerate(parts) if part)


TOKEN = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\[(?P<link>[^\]]+)\]\([^)]*\)"
    r"|(?P<page>\b[a-z][a-z.-]*)\((?P<section>[1-8])\)"
    r"|(?<![\w/.-])(?P<option>--?[a-z][a-z0-9-]*)"
    r"|(?P<word>\b[A-Z]+\b)"
)


def inline(text, metavars=()):
    def one(match):
        kind = match.lastgroup
        if kind == "code":
            return code(match["code"], metavars)
        if kind == "link":
            return inline(match["link"], metavars)
        if kind == "section":
            return f"{bold(match['page'])}({match['section']})"
        if kind == "option":
            return bold(match["option"])
        return italic(match["word"]) if match["word"] in metavars else match["word"]

    out, at = [], 0
    for match in TOKEN.finditer(text):
        out.append(escape(text[at : match.start()]))
        out.append(one(match))
        at = match.end()
    out.append(escape(text[at:]))
    return "".join(out)


def filled(text, metavars=()):
    """A paragraph, to be filled by the formatter."""
    lines = textwrap.wrap(
        inline(" ".join(text.split()), metavars), LINE_WIDTH, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(guarded(line) for line in lines)


def example(lines):
    for line in lines:
        if len(line) > CODE_WIDTH:
            raise ValueError(f"too wide for a manual page ({len(line)} > {CODE_WIDTH} columns): {line}")
    body = "\n".join(guarded(escape(line)) for line in lines)
    return f".RS 2\n.EX\n{body}\n.EE\n.RE"


def tagged(term, text, metavars=()):
    """`term` is formatted already."""
    return f".TP\n{guarded(term)}\n{filled(text, metavars)}"


def blocks(text):
    """(kind, content) for each block: heading, paragraph, item, definition, code."""
    lines = text.splitlines()
    at = 0

    def take(condition):
        nonlocal at
        start = at
        while at < len(lines) and condition(lines[at]):
            at += 1
        return lines[start:at]

    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif line.startswith("#"):
            marks, title = line.split(" ", 1)
            at += 1
            yield "heading", (len(marks), title)
        elif line.startswith("    "):
            block = take(lambda each: not each.strip() or each.startswith("    "))
            while not block[-1].strip():
                block.pop()
            yield "code", [each[4:] for each in block]
        elif line.startswith("* "):
            at += 1
            more = take(lambda each: each.startswith("  "))
            yield "item", " ".join([line[2:], *(each.strip() for each in more)])
        elif at + 1 < len(lines) and lines[at + 1].startswith(":   "):
            at += 1
            body = take(lambda each: each.startswith((":   ", "    ")))
            yield "definition", (line, " ".join(each[4:] for each in body))
        else:
            body = take(lambda each: each.strip() and not each.startswith(("#", "* ")))
            yield "paragraph", " ".join(body)


def table(lines):
    """Two columns, as pairs; a name that is indented belongs to the last one that is not."""
    column = re.search(r"\S {2,}(\S)", lines[0]).start(1)
    pairs, outer = [], ""
    for line in lines:
        name, text = line[:column], line[column:].strip()
        if not name.strip():
            pairs[-1][1] += " " + text
        elif line[column - 1] != " ":
            raise ValueError(f"not the second column of a table: {line}")
        elif name.startswith(" "):
            pairs.append([outer + name.strip(), text])
        else:
            outer = name.strip()
            pairs.append([outer, text])
    return pairs


def markup(text, metavars=()):
    """Formats blocks; level-2 headings become sections. Code that is too wide must be a table."""
    out = []
    first = True  # .PP after a heading is of no use
    for kind, content in blocks(text):
        if kind == "heading":
            level, title = content
            out.append(f".SH {quoted(escape(title.upper()))}" if level < 3 else f".SS {quoted(escape(title))}")
        elif kind == "paragraph":
            out.append(("" if first else ".PP\n") + filled(content, metavars))
        elif kind == "item":
            out.append(".IP \\(bu 2\n" + filled(content, metavars))
        elif kind == "definition":
            out.append(tagged(inline(content[0], metavars), content[1], metavars))
        elif any(len(line) > CODE_WIDTH for line in content):
            out += [tagged(bold(name), body, metavars) for name, body in table(content)]
        else:
            out.append(("" if first else ".PP\n") + example(content))
        first = kind == "heading"
    return "\n".join(out)
