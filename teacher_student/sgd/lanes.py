"""Eight numbers in one variable: vectors of the processor as values in compiled code, one lane a replica.

Arrays whose last axis has `LANES` entries are read and written a vector at a time with `load` and `store`; vectors know + - * /
with vectors and with scalars on either side, so that kernels read as they would for one replica. They are compiled for one, too:
of an array without an axis of lanes `load` gives a number, and all functions below take and return numbers as well. Every lane is
computed by the same instructions, whatever is in the others: a lane's numbers do not depend on its neighbours, NaN included. LLVM
turns a vector into as many registers as the processor needs for it.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable
from numba.np.arrayobj import make_array

from teacher_student.arrays import FloatArray

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


def _of_index(array: Any, index: Any) -> Any:
    """Return the type of array[index]: a number if there is an index for every axis, otherwise a vector along the last one."""
    n_indices = len(index) if isinstance(index, types.UniTuple | types.Tuple) else 1
    return types.float64 if array.ndim == n_indices else lanes


def _pointer(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    """Return the address of the vector or number array[index], from (array, index) and their types."""
    array = make_array(kinds[0])(context, builder, arguments[0])
    shape = cgutils.unpack_tuple(builder, array.shape)
    several = isinstance(kinds[1], types.BaseTuple)
    index = cgutils.unpack_tuple(builder, arguments[1]) if several else [arguments[1]]
    index = [
        context.cast(builder, i, kind, types.intp) for i, kind in zip(index, kinds[1] if several else [kinds[1]], strict=True)
    ]
    row = index[0]
    for i, length in zip(index[1:], shape[1 : len(index)], strict=True):
        row = builder.add(builder.mul(row, length), i)
    pointer = array.data
    if _of_index(*kinds[:2]) == lanes:
        pointer = builder.bitcast(pointer, _VECTOR.as_pointer())
    return builder.gep(pointer, [row])


def _common(*kinds: Any) -> Any:
    """Return the type of what is made of numbers and vectors."""
    return lanes if lanes in kinds else types.float64


def _cast(context: Any, builder: Any, signature: Any, arguments: Any, kind: Any) -> list[Any]:
    """Return the arguments as vectors, or as numbers, whichever `kind` is."""
    return [
        _vector(context, builder, value, given) if kind == lanes else context.cast(builder, value, given, kind)
        for value, given in zip(arguments, signature.args, strict=True)
    ]


def _call(builder: Any, name: str, kind: Any, argument: Any) -> Any:
    """Return LLVM's elementary function `name` of a vector or number, of type `kind`."""
    value, suffix = (_VECTOR, f"v{LANES}f64") if kind == lanes else (ir.DoubleType(), "f64")
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(value, [value]), f"llvm.{name}.{suffix}")
    return builder.call(function, [argument])


@_intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """Return array[index]: a vector along the last axis, (LANES,), or a number if there is an index for every axis."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args, arguments)
        return builder.load(pointer, align=8)

    return _of_index(array, index)(array, index), generate


@_intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write `value` into array[index], which is as in `load`; a number goes into every lane of a vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, (_, _, value) = signature.args, arguments
        if _of_index(*kinds[:2]) == lanes:
            value = _vector(context, builder, value, kinds[2])
        else:
            value = context.cast(builder, value, kinds[2], types.float64)
        builder.store(value, _pointer(context, builder, kinds[:2], arguments[:2]), align=8)
        return context.get_dummy_value()

    return types.void(array, index, value), generate


@_intrinsic
def square_root(typing_context: Any, x: Any) -> Any:
    """Return sqrt(x) of each lane."""
    kind = _common(x)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "sqrt", kind, *_cast(context, builder, signature, arguments, kind))

    return kind(x), generate


@_intrinsic
def choose(typing_context: Any, x: Any, y: Any, above: Any, otherwise: Any) -> Any:
    """Return `above` in the lanes in which x > y, and `otherwise` in the others, those with a NaN among them."""

    kind = _common(x, y, above, otherwise)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y, above, otherwise = _cast(context, builder, signature, arguments, kind)
        return builder.select(builder.fcmp_ordered(">", x, y), above, otherwise)

    return kind(x, y, above, otherwise), generate


@_intrinsic
def which_above(typing_context: Any, x: Any, y: Any) -> Any:
    """Return the lanes in which x > y as the bits of a number, the first lane lowest; two numbers are alike in all lanes."""
    kind = _common(x, y)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        above = builder.fcmp_ordered(">", *_cast(context, builder, signature, arguments, kind))
        if kind == lanes:
            return builder.zext(builder.bitcast(above, ir.IntType(LANES)), ir.IntType(64))
        return builder.select(above, ir.Constant(ir.IntType(64), ALL_LANES), ir.Constant(ir.IntType(64), 0))

    return types.int64(x, y), generate


@_intrinsic
def absolute(typing_context: Any, x: Any) -> Any:
    """Return |x| of each lane."""
    kind = _common(x)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "fabs", kind, *_cast(context, builder, signature, arguments, kind))

    return kind(x), generate


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
    n = math.prod(shape) * LANES
    numbers = np.zeros(n + LANES)
    begin = -(numbers.ctypes.data // numbers.itemsize) % LANES
    return numbers[begin : begin + n].reshape(*shape, LANES)
