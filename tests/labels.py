"""Which labels of a figure touch each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.text import Text


def touching_labels(figure: Figure) -> list[tuple[str, str]]:
    """Return the pairs of visible labels of `figure` that overlap."""
    figure.canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in _visible(figure) if text.get_text().strip()]
    return [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if x.overlaps(y)]


def _visible(figure: Figure) -> Iterator[Text]:
    if figure.get_suptitle():
        yield figure._suptitle
    for ax in figure.axes:
        yield from (ax.title, ax._left_title, ax._right_title, *ax.texts)
        for axis in (ax.xaxis, ax.yaxis):
            yield axis.label
            # Ticks outside the view have labels that are never drawn.
            yield from (label for tick in axis._update_ticks() for label in (tick.label1, tick.label2) if label.get_visible())
        for legend in (ax.get_legend(), *(artist for artist in ax.artists if hasattr(artist, "get_texts"))):
            if legend is not None:
                yield from (*legend.get_texts(), legend.get_title())
