"""numba's decorators for kernels. Compiled code is kept until any source of the package changes.

numba keeps a function's compiled code while the function's own file stays the same. But the code contains the functions
that it calls and the constants that it reads, which are in other files. After an update of those alone it would still compute
the old version's numbers. And numba stops at a file of compiled code that is damaged.

Kernels with one caller are marked `inline="always"`, unless that makes the caller slower: they are then compiled as a part of it
and with its options, which is faster than to compile them once more by themselves.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from numba import cfunc, njit
from numba.core import caching

__all__ = ["cfunc", "njit"]

_PACKAGE = Path(__file__).resolve().parent


@functools.cache
def _sources() -> bytes:
    """Return a digest of all modules of the package."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()} {len(source)}\n".encode() + source)
    return digest.digest()


class _OfThisPackage:
    """A place for compiled code, mixed into numba's, that holds this package's and asks for all its sources to be the same."""

    def get_source_stamp(self) -> bytes:
        return _sources()

    @classmethod
    def from_function(cls, py_func: object, py_file: str) -> Any:
        if not Path(py_file).resolve().is_relative_to(_PACKAGE):
            return None
        return super().from_function(py_func, py_file)  # type: ignore[misc]


class _WholeFiles(caching.IndexDataCacheFile):
    """Files of compiled code, of which one that a crash has cut counts as absent: what it held is compiled again."""

    def _load_index(self) -> Any:
        try:
            return super()._load_index()  # type: ignore[no-untyped-call]
        except OSError:
            raise
        except Exception:  # pickle raises any kind
            return {}

    def _load_data(self, name: str) -> Any:
        try:
            return super()._load_data(name)  # type: ignore[no-untyped-call]
        except OSError:
            raise
        except Exception:
            return None


caching.IndexDataCacheFile = _WholeFiles  # type: ignore[misc]

# Before numba's own, in the same order; functions outside the package go on to those.
_PLACES = (caching.UserProvidedCacheLocator, caching.InTreeCacheLocator, caching.UserWideCacheLocator)
_OWN: list[Any] = [type(place.__name__, (_OfThisPackage, place), {}) for place in _PLACES]
caching.CacheImpl._locator_classes[:0] = _OWN
