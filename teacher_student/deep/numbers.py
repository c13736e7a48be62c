"""Numbers as JSON files hold them."""

from __future__ import annotations

from typing import Any

import numpy as np


def finite(numbers: Any) -> Any:
    """Return `numbers` as JSON can hold them: null for what is infinite or not a number."""
    if isinstance(numbers, dict):
        return {key: finite(value) for key, value in numbers.items()}
    if isinstance(numbers, list):
        return [finite(value) for value in numbers]
    return None if isinstance(numbers, float) and not np.isfinite(numbers) else numbers
