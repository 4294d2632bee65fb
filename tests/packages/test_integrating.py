# SPDX-License-Identifier: Apache-2.0
"""docs/integrating.md, followed to the letter by an ordinary user of a machine with the packages."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/integrating.md"


def blocks():
    """The blocks of the page: (line, kind, content)."""
    text = PAGE.read_text()
    for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S):
        yield text.count("\n", 0, match.start()) + 1, match[1], match[2]


def test_every_step_of_the_page_does_what_it_says(installed):
    """`sh root` is for root where the packages are, `sh` for the user, in one shell from the first to
    the last; `text` is what the block before it prints."""
    script, expected, line_before = "", {}, None
    for line, kind, content in blocks():
        if kind == "sh root":
            installed.run("cd /packages/old\n" + content).ok()
        elif kind == "sh":
            script += f"echo '== {line}'\n{content}"
            line_before = line
        else:
            assert kind == "text", f"{PAGE}:{line}: nobody runs a block of {kind}"
            expected[line_before] = content
    said = installed.run(script, user="user").ok().stdout
    printed = {int(line): text for line, text in re.findall(r"^== (\d+)\n(.*?)(?=^== |\Z)", said, re.M | re.S)}
    assert expected and {line: printed[line] for line in expected} == expected
