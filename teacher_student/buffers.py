"""Views of a flat buffer in compiled code, for nothing: no memory is allocated, and no reference is counted.

A view is good as long as its buffer is, and does not keep it: numba frees an array after the last use of its name. Views are made
of what the caller of the kernel holds, or travel in a tuple with their buffer, which then lives as long as the tuple. They are
never returned to Python.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

# To mypy the function below is that of Python.
_intrinsic: Any = intrinsic


@_intrinsic
def view(typing_context: Any, buffer: Any, begin: Any, shape: Any) -> Any:
    """Return the part of `buffer` (n,) from `begin` on, seen as an array of the `shape`, a tuple, in row-major order.

    Nothing checks that it ends within the buffer.
    """
    kind = types.Array(buffer.dtype, len(shape), "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = make_array(signature.args[0])(context, builder, arguments[0])
        start = context.cast(builder, arguments[1], signature.args[1], types.intp)
        lengths = [
            context.cast(builder, length, given, types.intp)
            for length, given in zip(cgutils.unpack_tuple(builder, arguments[2]), signature.args[2], strict=True)
        ]
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(buffer.dtype)))
        strides: list[Any] = []
        stride = itemsize
        for length in reversed(lengths):
            strides.insert(0, stride)
            stride = builder.mul(stride, length)
        array = make_array(kind)(context, builder)
        data = builder.gep(source.data, [start])
        populate_array(array, data=data, shape=lengths, strides=strides, itemsize=itemsize, meminfo=None)
        return array._getvalue()

    return kind(buffer, begin, shape), generate
