"""Objects in a few words: what Python prints of them, and their tables in notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping

from teacher_student.errors import shown


def named(values: Mapping[str, object]) -> str:
    """Return "name=value, ..." with values that are not too long."""
    return ", ".join(f"{name}={brief(value)}" for name, value in values.items())


def brief(value: object) -> str:
    """Return a number with six digits at most, and anything else as in messages."""
    return f"{value:.6g}" if isinstance(value, float) else shown(value)


def html_table(title: str, rows: Iterable[Iterable[object]], header: Iterable[object] = ()) -> str:
    """Return a table for a notebook: `title` above it, a line a row, the first entry of each in bold."""
    lines = [f"<p><b>{_text(title)}</b></p><table>"]
    if header := tuple(header):
        lines.append("<thead><tr>" + "".join(f"<th>{_text(entry)}</th>" for entry in header) + "</tr></thead>")
    lines.append("<tbody>")
    for first, *others in rows:
        entries = "".join(f'<td style="text-align:left">{_text(entry)}</td>' for entry in others)
        lines.append(f'<tr><th style="text-align:left">{_text(first)}</th>{entries}</tr>')
    return "".join([*lines, "</tbody></table>"])


def _text(value: object) -> str:
    return html.escape(value if isinstance(value, str) else brief(value))
