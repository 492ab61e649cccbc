"""A table as Markdown (GitHub's), CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence

from orchestrator.report.part import Table

WIDEST = 40
"""Letters; a column of longer texts has its lines broken in LaTeX."""

_LATEX = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "†": r"$^\dagger$",
    "…": r"\ldots{}",
    "[": "{[}",  # after a row's end it would be an argument
}


def markdown(table: Table) -> str:
    """The table with its notes as a list, without its title; columns are aligned for those who read the source."""
    rows = [[markdown_text(text) for text in row] for row in (table.columns, *table.rows)]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    notes = [f"- {markdown_text(note)}" for note in table.notes]
    return "\n".join([*(f"| {line} |" for line in lines), *([""] if notes else []), *notes]) + "\n"


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    escaped = re.sub(r"([\\`*|\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace("~", "&#126;")


def csv_text(table: Table) -> str:
    """The table's values: fractions, not rounded; what is absent is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.value_columns)
    writer.writerows(table.values)
    return stream.getvalue()


def latex(table: Table) -> str:
    r"""The table as a float with caption and label ``tab:name``, ready for ``\input``; notes stand below it."""
    rows = [" & ".join(map(latex_text, row)) + r" \\" for row in (table.columns, *table.rows)]
    longest = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    kinds = "".join("l" if length <= WIDEST else r"p{0.3\linewidth}" for length in longest)
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{latex_text(table.title)}}}",
            f"  \\label{{tab:{table.name}}}",
            f"  \\begin{{tabular}}{{{kinds}}}",
            r"    \toprule",
            f"    {rows[0]}",
            r"    \midrule",
            *(f"    {row}" for row in rows[1:]),
            r"    \bottomrule",
            r"  \end{tabular}",
            *(f"  \\par\\footnotesize {latex_text(note)}" for note in table.notes),
            r"\end{table}",
            "",
        ]
    )


def latex_text(text: str) -> str:
    """Text that LaTeX shows as it is, on one line."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


FORMATS: Sequence[tuple[str, Callable[[Table], str]]] = (("md", markdown), ("csv", csv_text), ("tex", latex))
"""File ending -> what writes it."""
