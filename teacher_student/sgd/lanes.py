"""Eight numbers in one variable: vectors of the processor as values in compiled code, one lane a replica.

Arrays whose last axis has `LANES` entries are read and written a vector at a time with `load` and `store`; vectors know + - * /
with vectors and with scalars on either side, so that kernels read as they would for one replica. Every lane is computed by the
same instructions, whatever is in the others: a lane's numbers do not depend on its neighbours, NaN included. LLVM turns a vector
into as many registers as the processor needs for it.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable
from numba.np.arrayobj import make_array

FloatArray = npt.NDArray[np.float64]

# To mypy the functions below are those of Python.
_intrinsic: Any = intrinsic

LANES = 8
ALL_LANES = (1 << LANES) - 1
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)
_WORDS = ir.VectorType(ir.IntType(64), LANES)


class LanesType(types.Type):
    """numba's type of `LANES` float64."""

    def __init__(self) -> None:
        super().__init__(name=f"float64x{LANES}")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, _VECTOR)


def _vector(context: Any, builder: Any, value: Any, kind: Any) -> Any:
    """Return `value` as a vector; a scalar goes into every lane."""
    if kind == lanes:
        return value
    scalar = context.cast(builder, value, kind, types.float64)
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), zeros)


def _define(function: Any, instruction: str) -> None:
    @type_callable(function)
    def typer(context: Any) -> Any:
        def of(x: Any, y: Any) -> Any:
            numbers = (types.Float, types.Integer, LanesType)
            return lanes if lanes in (x, y) and isinstance(x, numbers) and isinstance(y, numbers) else None

        return of

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y = (_vector(context, builder, *pair) for pair in zip(arguments, signature.args, strict=True))
        return getattr(builder, instruction)(x, y)

    for pair in ((lanes, lanes), (lanes, types.Number), (types.Number, lanes)):
        lower_builtin(function, *pair)(lower)


for _instruction, _functions in {
    "fadd": (operator.add, operator.iadd),
    "fsub": (operator.sub, operator.isub),
    "fmul": (operator.mul, operator.imul),
    "fdiv": (operator.truediv, operator.itruediv),
}.items():
    for _function in _functions:
        _define(_function, _instruction)


def _pointer(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    """Return the address of the vector array[index], from (array, index) and their types."""
    array = make_array(kinds[0])(context, builder, arguments[0])
    shape = cgutils.unpack_tuple(builder, array.shape)
    several = isinstance(kinds[1], types.BaseTuple)
    index = cgutils.unpack_tuple(builder, arguments[1]) if several else [arguments[1]]
    index = [
        context.cast(builder, i, kind, types.intp) for i, kind in zip(index, kinds[1] if several else [kinds[1]], strict=True)
    ]
    row = index[0]
    for i, length in zip(index[1:], shape[1:-1], strict=True):
        row = builder.add(builder.mul(row, length), i)
    return builder.gep(builder.bitcast(array.data, _VECTOR.as_pointer()), [row])


def _call(builder: Any, name: str, arguments: Any) -> Any:
    """Return LLVM's elementary function `name` of vectors."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f64"), arguments)


@_intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """Return array[index], (LANES,), as a vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args, arguments)
        return builder.load(pointer, align=8)

    return lanes(array, index), generate


@_intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write the vector or scalar `value` into array[index], (LANES,)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args, arguments)
        builder.store(_vector(context, builder, arguments[2], signature.args[2]), pointer, align=8)
        return context.get_dummy_value()

    return types.void(array, index, value), generate


@_intrinsic
def square_root(typing_context: Any, x: Any) -> Any:
    """Return sqrt(x) of each lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "sqrt", arguments)

    return lanes(lanes), generate


@_intrinsic
def choose(typing_context: Any, x: Any, y: Any, above: Any, otherwise: Any) -> Any:
    """Return `above` in the lanes in which x > y, and `otherwise` in the others, those with a NaN among them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y, above, otherwise = (
            _vector(context, builder, value, kind) for value, kind in zip(arguments, signature.args, strict=True)
        )
        return builder.select(builder.fcmp_ordered(">", x, y), above, otherwise)

    return lanes(x, y, above, otherwise), generate


@_intrinsic
def which_above(typing_context: Any, x: Any, y: Any) -> Any:
    """Return the lanes in which x > y as the bits of a number, the first lane lowest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y = (_vector(context, builder, value, kind) for value, kind in zip(arguments, signature.args, strict=True))
        bits = builder.bitcast(builder.fcmp_ordered(">", x, y), ir.IntType(LANES))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(x, y), generate


@_intrinsic
def absolute(typing_context: Any, x: Any) -> Any:
    """Return |x| of each lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "fabs", arguments)

    return lanes(lanes), generate


@_intrinsic
def shift_exponent(typing_context: Any, x: Any, shifted: Any) -> Any:
    """Return x times 2 to the power of the integer in the lowest bits of each lane of `shifted`, 1.5 2^52 + integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits, powers = (builder.bitcast(argument, _WORDS) for argument in arguments)
        powers = builder.shl(powers, ir.Constant(_WORDS, [52] * LANES))
        return builder.bitcast(builder.add(bits, powers), _VECTOR)

    return lanes(lanes, lanes), generate


def vectors(*shape: int) -> FloatArray:
    """Return zeros, `shape` + (LANES,), that begin at a multiple of a vector's length, where vectors are read fastest."""
    n = int(np.prod(shape)) * LANES
    numbers = np.zeros(n + LANES)
    begin = -(numbers.ctypes.data // numbers.itemsize) % LANES
    return numbers[begin : begin + n].reshape(*shape, LANES)
