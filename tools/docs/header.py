# SPDX-License-Identifier: Apache-2.0
"""The manual page of a C header: its comments, and the declarations that they explain.

A comment on a line of its own belongs to what follows; one behind a declaration or a member to that.
`/* ---- Title */` begins a section. The comment at the top of the file is the description.
"""

import re
import textwrap

import man
import roff

WIDTH = 73


def comment_text(comment):
    """Without the marks, with paragraphs and the indentation of code as they are."""
    lines = comment.removeprefix("/*").removesuffix("*/").splitlines()
    return "\n".join(re.sub(r"^ *\* ?", "", line) if i else line.strip() for i, line in enumerate(lines)).rstrip()


def inline_names(text):
    """Names of the header are code, wherever they stand."""
    return re.sub(r"(?<![`\w])((?:strata_\w+|STRATA_\w+)\*?)(?!\w*`)", r"`\1`", text)


def prose(text):
    text = inline_names(" ".join(text.split()))
    if not text.endswith((".", ":", "...")):
        text += "."
    # Neither code nor a value like -1 begins a sentence with a capital letter.
    return text if re.match(r"`|strata|\W", text) else text[0].upper() + text[1:]


class Item:
    """A declaration, or a section (with neither comment nor members)."""

    def __init__(self, code="", comment="", section=None):
        self.code, self.comment, self.section = code, comment, section

    @property
    def name(self):
        call = re.match(r"STRATA_API [\w\s*]*?(\w+)\(", self.code)
        return call[1] if call else None


TOKENS = re.compile(r"/\*.*?\*/|[{};]|[^{};/]+|/", re.S)


def statements(text):
    """(code, comment above it, comment behind it); comments within braces stay in the code."""
    found, code, above, depth = [], "", "", 0
    for token in TOKENS.findall(text):
        if token.startswith("/*") and depth == 0:
            behind = found and not code.strip() and "\n" not in code
            if behind:
                found[-1][2] = comment_text(token)
            else:
                above = comment_text(token)
            code = ""
            if above.startswith("---- "):
                found.append([None, above.removeprefix("---- "), ""])
                above = ""
            continue
        depth += {"{": 1, "}": -1}.get(token, 0)
        code += token
        if token == ";" and depth == 0:
            found.append([code.strip(), above, ""])
            code, above = "", ""
    return found


def items(text):
    body = text.split('extern "C" {\n#endif\n')[1].split("#ifdef __cplusplus")[0]
    for code, above, behind in statements(body):
        if code is None:
            yield Item(section=above)
        else:
            yield Item(code, f"{above}\n{behind}".strip())


def broken_at_commas(code, width):
    kept = re.sub(r"(?<!,) ", "\0", code)
    lines = textwrap.wrap(kept, width, subsequent_indent="    ", break_long_words=False)
    return [line.replace("\0", " ") for line in lines]


def prototype(code):
    """In lines that fit, broken between parameters."""
    code = " ".join(code.removeprefix("STRATA_API ").split()).replace("( ", "(")
    return broken_at_commas(code, WIDTH)


def members(body, end):
    """[(declarations, text)]: a comment above holds for all until the next comment or empty line."""
    groups = []
    above = False  # the last group began with its comment
    for piece in re.split(r"(/\*.*?\*/)", body, flags=re.S):
        if piece.startswith("/*"):
            declarations, text = groups[-1] if groups else ([], "")
            if own_line:
                groups.append(([], comment_text(piece)))
            elif len(declarations) > 1:  # the last of those below a comment has one of its own
                groups[-1:] = [(declarations[:-1], text), (declarations[-1:], comment_text(piece))]
            else:
                groups[-1] = (declarations, f"{text} {comment_text(piece)}".strip())
            above = own_line
            continue
        for part in re.split(f"(?<={end})", piece):
            code = " ".join(part.split())
            if code and above and "\n\n" not in part[: len(part) - len(part.lstrip())]:
                groups[-1][0].append(code)
            elif code:
                groups.append(([code], ""))
                above = False
        own_line = "\n" in piece[len(piece.rstrip()) :]
    return groups


def code_block(lines):
    return ".PP\n.nf\n" + "\n".join(roff.guarded(roff.bold(line)) for line in lines) + "\n.fi"


def indented(text):
    return f".RS 4\n{text}\n.RE" if text else ""


def member_name(declaration):
    pointer = re.search(r"\(\*(\w+)\)", declaration)
    if pointer:
        return pointer[1]
    return re.findall(r"\w+", re.sub(r"\[.*?\]|=.*", "", declaration))[-1]


def aggregate(item):
    """A struct or an enum: as it is declared, then what its members mean."""
    head, _, rest = item.code.partition("{")
    body, _, tail = rest.rpartition("}")
    groups = members(body, "," if "enum" in head else ";")
    lines = [" ".join(head.split()) + " {"]
    for declarations, _ in groups:
        for code in declarations:
            lines += ["  " + line for line in broken_at_commas(code, WIDTH - 2)]
    lines.append("}" + (" " + tail.strip() if tail.strip() != ";" else ";"))
    text = [roff.markup(prose(item.comment))] if item.comment else []
    for declarations, comment in groups:
        if comment and declarations:
            tag = ", ".join(roff.bold(member_name(code)) for code in declarations)
            text.append(f".TP\n{tag}\n{roff.filled(prose(comment))}")
    return code_block(lines) + "\n" + indented("\n".join(text))


def declaration(item):
    if "{" in item.code:
        return aggregate(item)
    text = roff.filled(prose(item.comment)) if item.comment else ""
    return code_block(prototype(item.code)) + "\n" + indented(text)


def description(text):
    """(title, example, the rest): paragraphs that begin in capitals get a heading."""
    title, paragraphs, example = "", [], []
    for kind, content in roff.blocks(comment_text(text)):
        if kind == "code":
            example = content
        elif kind == "paragraph" and not content.startswith("SPDX"):
            if not title:
                title = content.split(": ", 1)[1].rstrip(".")
                continue
            heading = re.match(r"((?:[A-Z]{2,} ?)+)(\.? )?", content)
            if heading:
                words = heading[1].strip().capitalize()
                rest = content[heading.end() :]
                content = rest if heading[2] else f"{words} {rest}"
                paragraphs.append(f"### {words}")
            paragraphs.append(inline_names(content))
    return title, example, "\n\n".join(paragraphs)


def page(text, extra):
    """The page of the header, and the names of its functions."""
    title, example, rest = description(text[: text.index("*/") + 2])
    made = man.Page("strata.h", 3, title)
    made.add("SYNOPSIS", ".nf\n" + roff.bold("#include <strata.h>") + "\n.fi")
    made.add("SYNOPSIS", roff.filled("Compile and link with `$(pkg-config --cflags --libs strata)`; "
                                     "in CMake, `find_package(strata)` and `strata::strata`."))
    made.add("DESCRIPTION", roff.markup(rest))
    made.add("DESCRIPTION", ".SS An outline\n" + roff.example(example))
    names = []
    heading, parts = "VERSION", []
    for item in [*items(text), Item(section="")]:
        if item.section is not None:
            if parts:
                made.add(heading.upper(), re.sub(r"^\.PP\n", "", "\n".join(parts)))
            heading, parts = item.section, []
        elif not re.fullmatch(r"typedef struct (\w+) \1;", item.code) or item.comment:
            parts.append(declaration(item))
            names += [item.name] if item.name else []
    made.add_file(extra)
    return made, names
