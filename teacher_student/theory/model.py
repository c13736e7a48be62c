"""The mean step of a problem as data for compiled code: rule, teacher, inputs, activations and their Gaussian averages."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types
from numba.extending import typeof_impl

from teacher_student.arrays import FloatArray
from teacher_student.buffers import view
from teacher_student.bundles import Rule, Teacher, Units
from teacher_student.gaussian_averages.pointers import AVERAGES, MATRIX, VECTOR
from teacher_student.kernels import njit
from teacher_student.layout import Factors, Sizes, factors_at


class Averages(NamedTuple):
    """Gaussian averages in closed form: a family's function pointer and the parameters of its members."""

    function: Any
    parameters: Any


class Inputs(NamedTuple):
    """Eigenvalues of the input covariance and the fractions of the directions that have them, (blocks,) each."""

    eigenvalues: Any
    fractions: Any


class Forces(NamedTuple):
    """Averages that every right-hand side is made of, with h_a x / sqrt(N) the step of mode a.

    `with_rows` (blocks, P, rows P) and `with_teacher` (blocks, P, M) hold <h_a z> for the fields z of the rows that move and of
    the teacher in one block of directions, `hh` (P, P) the <h_a h_b> / b of a batch, and `slow` the mean steps of the slow
    factors times N.
    """

    with_rows: Any
    with_teacher: Any
    hh: Any
    slow: Factors


class Model(NamedTuple):
    """All that the right-hand side knows besides the state.

    The rows of a mode obey dX = memory X dalpha + b h x with b = (0, ..., 0, 1): `memory` (rows, rows) is (0) for plain SGD and
    ((0, 1), (0, -friction)) with friction. `points` (n, M + P) are those that averages are taken over where there is no closed
    form, else none. `work` is work space: no two threads may use a model at once.
    """

    sizes: Sizes
    averages: Averages
    points: Any
    units: Units
    teacher: Teacher
    rule: Rule
    inputs: Inputs
    memory: Any
    work: Any


_CUBE = types.float64[:, :, ::1]
_ACTIVATION = types.FunctionType(types.float64(types.float64))


def _tuple_type(cls: Any, *kinds: Any) -> Any:
    return types.NamedTuple(kinds, cls)  # type: ignore[no-untyped-call]


MODEL = _tuple_type(
    Model,
    _tuple_type(Sizes, *[types.int64] * len(Sizes._fields)),
    _tuple_type(Averages, types.FunctionType(AVERAGES), VECTOR),
    MATRIX,
    _tuple_type(Units, _ACTIVATION, _ACTIVATION, _ACTIVATION),
    _tuple_type(Teacher, _CUBE, VECTOR),
    _tuple_type(Rule, MATRIX, types.float64, types.float64, types.int64, types.float64, types.boolean),
    _tuple_type(Inputs, VECTOR, VECTOR),
    MATRIX,
    VECTOR,
)


@typeof_impl.register(Model)
def _type_of_model(model: Model, context: Any) -> Any:
    """Return the one type of all models; to let numba find it out again takes longer than most calls."""
    return MODEL


# What writes dy/dalpha of a flat state at a time into its last argument; of one type for all models, so that integrators, linear
# noise and leaps are compiled without it, and once.
RIGHT_HAND_SIDE = types.void(MODEL, types.float64, VECTOR, VECTOR)


@njit(cache=True, nogil=True, inline="always")
def forces_at(work: FloatArray, sizes: Sizes) -> tuple[Forces, int]:
    """Return forces at the beginning of `work`, and where they end."""
    P, M, n_rows, blocks = sizes.P, sizes.M, sizes.rows * sizes.P, sizes.blocks
    with_teacher = blocks * P * n_rows
    hh = with_teacher + blocks * P * M
    factors = factors_at(work, hh + P * P, sizes)
    forces = Forces(view(work, 0, (blocks, P, n_rows)), view(work, with_teacher, (blocks, P, M)), view(work, hh, (P, P)), factors)
    return forces, hh + P * P + len(factors.slow)


class Matrices(NamedTuple):
    """Work space of the closed forces, n = K + M.

    Of one index more than one are B, D, weights_B and GD (K, P) and their transposes; `C` (P + M, P + M) is the covariance of
    (u, rho), `BC` (K, P + M) that of lambda with them, `S` (n, n) that of the fields psi; `L` (n, n), `E` and `A` (K, n) and `G`
    (K, K) are the averages, `weights` (n, K) what turns covariances with psi into <delta g'(lambda_k) z>, `per_u` (P, P) and
    `per_rho` (P, M) what turns those with (u, rho) into <delta d_a z>.
    """

    B: Any
    B_transposed: Any
    C: Any
    BC: Any
    Q: Any
    S: Any
    c: Any
    L: Any
    E: Any
    A: Any
    G: Any
    weights: Any
    through_u: Any
    GD: Any
    per_u: Any
    per_rho: Any
    R_transposed: Any


@njit(cache=True, nogil=True, inline="always")
def matrices_at(work: FloatArray, begin: int, sizes: Sizes) -> tuple[Matrices, int]:
    """Return matrices that lie in `work` from `begin` on, and where they end."""
    K, P, M, n_rows = sizes.K, sizes.P, sizes.M, sizes.rows * sizes.P
    n, r = K + M, P + M
    B_transposed = begin + K * P
    C = B_transposed + K * P
    BC = C + r * r
    Q = BC + K * r
    S = Q + K * K
    c = S + n * n
    L = c + n
    E = L + n * n
    A = E + K * n
    G = A + K * n
    weights = G + K * K
    through_u = weights + n * K
    GD = through_u + P * K
    per_u = GD + K * P
    per_rho = per_u + P * P
    R_transposed = per_rho + P * M
    end = R_transposed + M * n_rows
    matrices = Matrices(
        view(work, begin, (K, P)),
        view(work, B_transposed, (P, K)),
        view(work, C, (r, r)),
        view(work, BC, (K, r)),
        view(work, Q, (K, K)),
        view(work, S, (n, n)),
        view(work, c, (n,)),
        view(work, L, (n, n)),
        view(work, E, (K, n)),
        view(work, A, (K, n)),
        view(work, G, (K, K)),
        view(work, weights, (n, K)),
        view(work, through_u, (P, K)),
        view(work, GD, (K, P)),
        view(work, per_u, (P, P)),
        view(work, per_rho, (P, M)),
        view(work, R_transposed, (M, n_rows)),
    )
    return matrices, end


def work_size(sizes: Sizes) -> int:
    """Return the room that forces and matrices take, one after the other."""
    K, P, M, n_rows = sizes.K, sizes.P, sizes.M, sizes.rows * sizes.P
    n, r = K + M, P + M
    forces = sizes.blocks * P * (n_rows + M) + P * P + sizes.n_slow
    return forces + r * r + K * r + 2 * K * K + 2 * n * n + n + 3 * K * n + 4 * K * P + P * P + P * M + M * n_rows
