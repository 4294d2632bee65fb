# SPDX-License-Identifier: Apache-2.0
"""A table, as Markdown and as HTML."""

from html import escape


class Cell:
    """A text, what stands small below it, and how it is to be taken: "good", "bad" or neither."""

    def __init__(self, text="", note="", kind=""):
        self.text, self.note, self.kind = text, note, kind


class Table:
    """`columns` are headings; the rows begin with `names` more columns, which say what a row is of.

    A cell is a Cell, or its text.
    """

    def __init__(self, names, columns, rows):
        self.names, self.columns = names, columns
        self.rows = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]

    def markdown(self):
        lines = ["| " * self.names + "| " + " | ".join(self.columns) + " |", "|" + "---|" * (self.names + len(self.columns))]
        for row in self.rows:
            cells = [f"{cell.text} <sub>{cell.note}</sub>" if cell.note else cell.text for cell in row]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def html(self):
        out = '<th class="name"></th>' * self.names + "".join(f"<th>{escape(column)}</th>" for column in self.columns)
        rows = [out] + ["".join(self._html_cell(*numbered) for numbered in enumerate(row)) for row in self.rows]
        return '<div class="scroll"><table>' + "".join(f"<tr>{row}</tr>" for row in rows) + "</table></div>"

    def _html_cell(self, number, cell):
        kind = "name" if number < self.names else cell.kind
        note = f"<small>{escape(cell.note)}</small>" if cell.note else ""
        return (f'<td class="{kind}">' if kind else "<td>") + f"{escape(cell.text)}{note}</td>"
