"""Progress bars: on a terminal, and in notebooks as widgets or, without ipywidgets, as text."""

from __future__ import annotations

import sys
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that the choice is new in tqdm, and that bars in notebooks are text without ipywidgets
    from tqdm.autonotebook import tqdm as tqdm


def hidden(progress: bool) -> bool | None:
    """Return `disable` of a bar: None, which hides it where stderr is no terminal, but not in a notebook."""
    if not progress:
        return True
    return False if _in_a_notebook() else None


def _in_a_notebook() -> bool:
    """Return whether IPython runs as the kernel of a notebook, whose output is no terminal and is looked at."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and "IPKernelApp" in shell.config
