"""Rows of text in aligned columns."""

from collections.abc import Sequence


def show(*rows: Sequence[str]) -> None:
    """Print ``rows``, the first of them the heading, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in (rows[0], ["-" * width for width in widths], *rows[1:]):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
