"""CIFAR-10 python batches: pickles, read without executing anything that they contain.

A pickle may call any function that it names. Here it can only name the few with which NumPy writes an array, and even these are
replaced by stand-ins that record their arguments; arrays are then built from the recorded bytes.

A pickle may also have anything hashed, as a key of a dictionary or a member of a set. Python hashes a tuple anew at every place
where it occurs, so that a tuple of twice the same tuple, 100 deep, takes for ever. Here keys are text, bytes and whole numbers,
and there are no sets: the dictionaries of CIFAR-10 need no more.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from teacher_student.arrays import ByteArray, IntArray
from teacher_student.errors import InvalidInput

N_PIXELS = 3 * 32 * 32
_UNSIGNED_BYTES = ("u1", "uint8", "B", "|u1", b"u1", b"|u1")
_MOST_BYTES = 2**28


class _Dtype:
    """Stands for numpy.dtype: keeps the name of the type."""

    def __init__(self, name: Any = None, *rest: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        pass


class _Array:
    """Stands for numpy.ndarray: keeps shape, type, order and bytes."""

    shape: Any = None
    dtype: Any = None
    fortran: Any = False
    data: Any = None

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 5:
            _, self.shape, self.dtype, self.fortran, self.data = state


def _reconstruct(*arguments: Any) -> _Array:
    return _Array()


def _encode(text: Any, encoding: Any = "latin1") -> Any:
    """Stand for _codecs.encode, with which Python 3 writes bytes at protocol 2."""
    return text.encode("latin1") if isinstance(text, str) else None


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """Stand for numpy's _frombuffer, with which arrays are written at protocol 5."""
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", bytes(data) if isinstance(data, (bytes, bytearray)) else None))
    return array


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Unpickler(pickle._Unpickler):  # the one in Python, whose operations can be replaced
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _STAND_INS[module, name]

    def _load_dictionary(self) -> None:
        entries = _checked_entries(self.pop_mark())  # which changes the stack that `append` is of
        self.append(entries)

    def _load_entries(self) -> None:
        self._enter(self.pop_mark())

    def _load_entry(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._enter([key, value])

    def _enter(self, entries: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise pickle.UnpicklingError(f"it makes entries in {_type_of(self.stack[-1])}")
        self.stack[-1].update(_checked_entries(entries))

    def _load_state(self) -> None:
        state = self.stack.pop()
        if type(self.stack[-1]) not in (_Array, _Dtype):
            raise pickle.UnpicklingError(f"it gives a state to {_type_of(self.stack[-1])}")
        self.stack[-1].__setstate__(state)

    def _refuse_set(self) -> NoReturn:
        raise pickle.UnpicklingError("it has a set")

    dispatch[pickle.DICT[0]] = _load_dictionary
    dispatch[pickle.SETITEMS[0]] = _load_entries
    dispatch[pickle.SETITEM[0]] = _load_entry
    dispatch[pickle.BUILD[0]] = _load_state
    for _operation in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET):
        dispatch[_operation[0]] = _refuse_set


def _checked_entries(entries: list[Any]) -> dict[Any, Any]:
    """Return a dictionary of keys and values that follow each other; refuses keys that could take long to hash."""
    for key in entries[::2]:
        if type(key) not in (str, bytes, int):
            raise pickle.UnpicklingError(f"it has {_type_of(key)} as a key")
    return dict(zip(entries[::2], entries[1::2], strict=True))


def read_batch(path: Path, name: str | None = None) -> tuple[ByteArray, IntArray]:
    """Return images, (samples, 3072), and labels, (samples,), of one batch, which has to be the one called `name`, if any.

    Raises `InvalidInput` with the file, the field and what was expected; also for a pickle that names anything but arrays.
    Batches without a ``batch_label``, which the published ones have, pass for any.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            _refuse(path, "size", f"{path.stat().st_size} bytes", f"at most {_MOST_BYTES}")
        with path.open("rb") as file:
            try:
                batch = _Unpickler(file, encoding="bytes").load()
            except InvalidInput:
                raise
            except Exception as error:
                # A damaged pickle may raise nearly anything.
                reason = " ".join(str(error).split())[:100] or type(error).__name__
                _refuse(path, f"offset {file.tell()}", f"a pickle that cannot be read ({reason})", "plain arrays and lists")
            if file.read(1):
                _refuse(path, f"offset {file.tell() - 1}", "more data", "the end of the file")
    except OSError as error:
        raise InvalidInput(f"{path}: got {error.strerror}, expected a readable CIFAR-10 batch") from None
    if not isinstance(batch, dict):
        _refuse(path, "content", _type_of(batch), "a dictionary with data and labels")
    entries = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    if name is not None and "batch_label" in entries:
        _check_name(path, entries["batch_label"], name)
    images = _images(path, entries.get("data"))
    return images, _labels(path, entries.get("labels"), len(images))


def _check_name(path: Path, value: Any, name: str) -> None:
    if value not in (name, name.encode()):
        _refuse(path, "batch_label", _shown(value.decode("latin1") if isinstance(value, bytes) else value), repr(name))


def _images(path: Path, value: Any) -> ByteArray:
    if not isinstance(value, _Array):
        _refuse(path, "data", _type_of(value), f"an array of bytes, (samples, {N_PIXELS})")
    name = value.dtype.name if isinstance(value.dtype, _Dtype) else None
    if name not in _UNSIGNED_BYTES:
        _refuse(path, "data", f"an array of type {_shown(name)}", "unsigned bytes")
    shape = value.shape
    if not (isinstance(shape, tuple) and len(shape) == 2 and all(type(size) is int and 0 < size < 2**31 for size in shape)):
        _refuse(path, "data", f"shape {_shown_shape(shape)}", f"(samples, {N_PIXELS})")
    if shape[1] != N_PIXELS:
        _refuse(path, "data", f"shape {shape}", f"(samples, {N_PIXELS}), 32 x 32 pixels of three colours")
    if not isinstance(value.data, bytes) or len(value.data) != shape[0] * shape[1]:
        got = f"{len(value.data)} bytes" if isinstance(value.data, bytes) else _type_of(value.data)
        _refuse(path, "data", got, f"{shape[0] * shape[1]} bytes, for shape {shape}")
    return np.frombuffer(value.data, np.uint8).reshape(shape, order="F" if value.fortran else "C")


def _labels(path: Path, value: Any, n_samples: int) -> IntArray:
    if not isinstance(value, list):
        _refuse(path, "labels", _type_of(value), "a list of numbers")
    if len(value) != n_samples:
        _refuse(path, "labels", f"{len(value)} labels", f"{n_samples}, one for each image")
    for index, label in enumerate(value):
        if type(label) is not int or not 0 <= label <= 9:
            _refuse(path, f"labels[{index}]", _shown(label), "a label between 0 and 9")
    return np.array(value, np.int64)


def _shown(value: Any) -> str:
    """Return a small number or a short text as it is, and the type of anything else, whose repr may take for ever."""
    small = type(value) is bool or (type(value) is int and abs(value) < 2**31)
    short = type(value) in (str, bytes) and len(value) <= 40
    return repr(value) if small or short else _type_of(value)


def _shown_shape(shape: Any) -> str:
    if not isinstance(shape, tuple) or len(shape) > 4:
        return _shown(shape)
    return f"({', '.join(map(_shown, shape))}{',' if len(shape) == 1 else ''})"


def _type_of(value: Any) -> str:
    return type(value).__name__.lstrip("_")


def _refuse(path: Path, field: str, got: str, expected: str) -> NoReturn:
    raise InvalidInput(f"{path}: {field}: got {got}, expected {expected}")
