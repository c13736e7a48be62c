"""One thread for linear algebra: products of a batch with a few modes gain nothing from more."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import ThreadpoolController  # comes with scikit-learn


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS uses one thread.

    At the sizes of a batch more threads save little, and on a machine that has other work they wait for each other by
    spinning: standard training then takes many times as long. Run seeds side by side instead.
    """
    return _controller().limit(limits=1, user_api="blas")


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
