"""A tile of a product of matrices that stays in the registers of the processor, as one instruction of compiled code.

Loops over a row of the result with few terms a number read and write that row again and again, and compilers do not turn them
into anything else. Here the sums of `ROWS` rows and some vectors of columns are registers, written once.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

ROWS, _VECTORS, _BITS = 4, 3, 256  # 12 sums, 3 vectors of X and a number of C: sixteen registers of 256 bits
COLUMNS_OF_BYTES = _VECTORS * _BITS // 8

# To mypy the function below is one of Python.
_intrinsic: Any = intrinsic


@_intrinsic
def write_tile(typing_context: Any, C: Any, rows: Any, X: Any, result: Any, column: Any) -> Any:
    """Write `rows`, `ROWS` indices, of C X into `result` for the columns from `column` on that fill `COLUMNS_OF_BYTES`.

    `X` and `result` must be contiguous, which the compiler checks.
    """
    if X.layout != "C" or result.layout != "C":
        raise TypingError("write_tile: X and result must be contiguous")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = context.get_value_type(result.dtype)
        lanes = _BITS // result.dtype.bitwidth
        vector = ir.VectorType(number, lanes)
        i32 = ir.IntType(32)

        def address(index: int, row: Any, at: Any) -> Any:
            array = make_array(signature.args[index])(context, builder, arguments[index])
            return cgutils.get_item_pointer(context, builder, signature.args[index], array, [row, at], wraparound=False)

        def vectors_at(pointer: Any) -> list[Any]:
            first = builder.bitcast(pointer, vector.as_pointer())
            return [builder.gep(first, [ir.Constant(i32, v)]) for v in range(_VECTORS)]

        def everywhere(value: Any) -> Any:
            nothing, first_lane = ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(i32, lanes), [0] * lanes)
            one = builder.insert_element(nothing, value, ir.Constant(i32, 0))
            return builder.shuffle_vector(one, nothing, first_lane)

        zero = ir.Constant(vector, [0.0] * lanes)
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(_VECTORS)] for _ in range(ROWS)]
        row_of = cgutils.unpack_tuple(builder, arguments[1])
        n_terms = cgutils.unpack_tuple(builder, make_array(X)(context, builder, arguments[2]).shape)[0]
        align = result.dtype.bitwidth // 8
        with cgutils.for_range(builder, n_terms) as loop:
            x = [builder.load(pointer, align=align) for pointer in vectors_at(address(2, loop.index, arguments[4]))]
            for row, of_row in zip(row_of, sums, strict=True):
                c = everywhere(builder.load(address(0, row, loop.index)))
                for total, factor in zip(of_row, x, strict=True):
                    product = builder.fmul(c, factor, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
        for row, of_row in zip(row_of, sums, strict=True):
            for total, pointer in zip(of_row, vectors_at(address(3, row, arguments[4])), strict=True):
                builder.store(builder.load(total), pointer, align=align)
        return context.get_dummy_value()

    return types.void(C, rows, X, result, column), generate
