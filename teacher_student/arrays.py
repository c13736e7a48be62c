"""Types of arrays, for annotations: one name for each type of elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]  # pixels of images, and labels, as files hold them
WordArray = npt.NDArray[np.uint64]
RealArray = npt.NDArray[np.floating]  # single or double precision
Array = npt.NDArray[Any]
