"""Whether an integration gets on: the pace of its steps, measured every so often."""

from __future__ import annotations

from dataclasses import dataclass

# After as many steps the pace is judged.
WINDOW = 2000


@dataclass
class Progress:
    """The pace of an integration that ends at `end`; it is too slow if the end is more than `most_steps` away at it.

    Steps that grow are never too slow: alpha has doubled then since the pace was measured before.
    """

    end: float
    most_steps: float
    marked: float = 0.0
    steps: int = 0

    def is_made(self, alpha: float) -> bool:
        """Count a step, to the time `alpha`, and return whether the integration gets on."""
        self.steps += 1
        if self.steps % WINDOW:
            return True
        before, self.marked = self.marked, alpha
        return alpha >= 2.0 * before or (alpha - before) * self.most_steps >= (self.end - alpha) * WINDOW
