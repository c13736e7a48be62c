"""IDX files, the format of MNIST and Fashion-MNIST: big-endian sizes, then unsigned bytes; gzipped or not.

Format: Y. LeCun, C. Cortes and C. Burges, the MNIST database: two zero bytes, a type code (8 for unsigned bytes), the number of
dimensions, one 4-byte size a dimension, and the data in C order.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path
from typing import NoReturn

import numpy as np

from teacher_student.arrays import ByteArray, IntArray
from teacher_student.errors import InvalidInput

_UNSIGNED_BYTE = 8
_MOST_BYTES = 2**31
_PIECE = 2**24


def read_idx(path: Path, n_dimensions: int) -> ByteArray:
    """Return the array of unsigned bytes in an IDX file, which may be gzipped whatever its name.

    Raises `InvalidInput` with the file, the offset (in the unpacked data) and what was expected there.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                return _read_gzipped(path, raw, n_dimensions)
            return _read(path, raw, n_dimensions)
    except OSError as error:
        raise InvalidInput(f"{path}: got {error.strerror}, expected a readable IDX file") from None


def _read_gzipped(path: Path, raw: io.BufferedIOBase, n_dimensions: int) -> ByteArray:
    with gzip.GzipFile(fileobj=raw) as unpacked:
        try:
            return _read(path, unpacked, n_dimensions)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            # What lies before has been unpacked; its checksum comes last, and there the file ends.
            _refuse(path, unpacked.tell(), f"damaged gzip data ({error})", "a whole gzipped IDX file")


def _read(path: Path, file: io.BufferedIOBase, n_dimensions: int) -> ByteArray:
    header = file.read(4)
    if len(header) < 4:
        _refuse(path, 0, f"{len(header)} bytes", "the 4 bytes an IDX file begins with")
    if header[:2] != b"\0\0":
        _refuse(path, 0, header[:2].hex(" "), "00 00, the beginning of an IDX file")
    if header[2] != _UNSIGNED_BYTE:
        _refuse(path, 2, f"type code {header[2]:#04x}", "0x08, unsigned bytes")
    if header[3] != n_dimensions:
        kind = {1: "labels", 3: "images"}.get(n_dimensions, "this array")
        _refuse(path, 3, f"{header[3]} dimensions", f"{n_dimensions}, those of {kind}")
    sizes_bytes = file.read(4 * n_dimensions)
    if len(sizes_bytes) < 4 * n_dimensions:
        _refuse(path, 4, f"{len(sizes_bytes)} bytes", f"{n_dimensions} sizes of 4 bytes")
    sizes = struct.unpack(f">{n_dimensions}I", sizes_bytes)
    start, n_bytes = 4 + 4 * n_dimensions, math.prod(sizes)
    if not 0 < n_bytes <= _MOST_BYTES:
        _refuse(path, 4, f"sizes {' x '.join(map(str, sizes))}", f"between 1 and {_MOST_BYTES} bytes of data")
    # Piece by piece, so that a header that promises more than there is takes no memory for it.
    data = bytearray()
    while len(data) <= n_bytes and (piece := file.read(min(_PIECE, n_bytes + 1 - len(data)))):
        data += piece
    if len(data) < n_bytes:
        _refuse(path, start, f"{len(data)} bytes", f"{n_bytes}, for sizes {' x '.join(map(str, sizes))}")
    if len(data) > n_bytes:
        _refuse(path, start + n_bytes, "more data", f"the end of the file, for sizes {' x '.join(map(str, sizes))}")
    return np.frombuffer(bytes(data), np.uint8).reshape(sizes)


def read_images_and_labels(images: Path, labels: Path) -> tuple[ByteArray, IntArray]:
    """Return images, (samples, rows, columns), and labels, (samples,); raises `InvalidInput` unless they belong together."""
    X, y = read_idx(images, 3), read_idx(labels, 1)
    if len(X) != len(y):
        _refuse(labels, 4, f"{len(y)} labels", f"{len(X)}, one for each image in {images.name}")
    wrong = np.flatnonzero(y > 9)
    if len(wrong):
        _refuse(labels, 8 + int(wrong[0]), f"label {y[wrong[0]]}", "a label between 0 and 9")
    return X, y.astype(np.int64)


def _refuse(path: Path, offset: int, got: str, expected: str) -> NoReturn:
    raise InvalidInput(f"{path}: offset {offset}: got {got}, expected {expected}")
