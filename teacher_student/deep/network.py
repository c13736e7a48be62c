"""A multilayer perceptron whose weight matrices are W = xi_out diag(sigma) xi_in: one flat vector, seen as its factors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from teacher_student.arrays import RealArray
from teacher_student.deep.activations import gaussian_moments
from teacher_student.deep.checks import whole_numbers
from teacher_student.errors import check_choice, refuse

DECOMPOSITIONS = ("modes", "shared", "low-rank", "svd", "none")
INITIALISATIONS = ("unit-fields", "li-huang", "spectral")

_MOST_PARAMETERS = 2**31  # more take tens of GB in training


@dataclass(frozen=True)
class Architecture:
    """Which factors a network has.

    Attributes
    ----------
    sizes : tuple of int
        Neurons a layer, input and output included: (N_0, ..., N_L).
    n_modes : tuple of int
        P of each of the L weight matrices; 0 stands for a matrix that is not decomposed.
    activation : str
        g of the hidden layers; outputs are linear.
    shared : bool
        The output modes of a matrix are the input modes of the next (1L1P of Li and Huang, 2023; otherwise 1L2P).
    sigma_learns : bool
        Without it sigma is 1 and no parameter.
    bias : bool
        Without it the biases are 0 and no parameters.
    orthogonal : bool
        Modes start orthonormal, and training keeps them near ("svd").
    """

    sizes: tuple[int, ...]
    n_modes: tuple[int, ...]
    activation: str
    shared: bool = False
    sigma_learns: bool = True
    bias: bool = True
    orthogonal: bool = False

    @property
    def decomposition(self) -> str:
        """Which of the `DECOMPOSITIONS` this is."""
        if not any(self.n_modes):
            return "none"
        if self.shared:
            return "shared"
        if not self.sigma_learns:
            return "low-rank"
        return "svd" if self.orthogonal else "modes"


@dataclass(frozen=True, eq=False)
class ModeLayer:
    """The factors of one matrix: `xi_in` (P, N_in), `sigma` (P,), `xi_out` (N_out, P), and `bias` (N_out,)."""

    xi_in: RealArray
    sigma: RealArray
    xi_out: RealArray
    bias: RealArray


@dataclass(frozen=True, eq=False)
class PlainLayer:
    """A matrix that is not decomposed, `W` (N_out, N_in), and `bias` (N_out,)."""

    W: RealArray
    bias: RealArray


Layers = tuple[ModeLayer | PlainLayer, ...]


def build_architecture(sizes: tuple[int, ...], n_modes: Any, decomposition: object, activation: str) -> Architecture:
    """Return the architecture of one of the `DECOMPOSITIONS`, with `n_modes` a number or one a weight matrix.

    "shared" has one number for all, which may be repeated for each matrix or each layer of neurons, inputs included. "svd" has at
    most min(N_in, N_out) modes a matrix, for more cannot be orthogonal. Raises `InvalidInput` for unknown names and for numbers
    of modes that do not fit.
    """
    check_choice("decomposition", decomposition, DECOMPOSITIONS)
    gaussian_moments(activation)
    n_matrices = len(sizes) - 1
    if decomposition == "none":
        return Architecture(sizes, (0,) * n_matrices, activation)
    modes = whole_numbers("n_modes", n_modes)
    if decomposition == "shared":
        if len(set(modes)) > 1:
            refuse("n_modes", n_modes, 'one number, such as 70: neighbours share modes; "modes" has its own for each matrix')
        if len(modes) not in (1, n_matrices, n_matrices + 1):
            refuse("n_modes", n_modes, f"a number, or the same for each of the {n_matrices} matrices or {n_matrices + 1} layers")
        modes = modes[:1]
    if np.ndim(n_modes) == 0 or decomposition == "shared":
        modes *= n_matrices
    if len(modes) != n_matrices:
        refuse("n_modes", n_modes, f"a number, or a list of one for each of the {n_matrices} weight matrices")
    if decomposition == "svd":
        modes = tuple(min(P, n_in, n_out) for P, n_in, n_out in zip(modes, sizes[:-1], sizes[1:], strict=True))
    shared, sigma_learns = decomposition == "shared", decomposition != "low-rank"
    return Architecture(sizes, modes, activation, shared, sigma_learns, orthogonal=decomposition == "svd")


def factor_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the shape of every factor that learns, in the order of the flat vector; "xi_in1" belongs to the second matrix.

    All modes are stored as rows, xi_out too. With shared modes "xi0", "xi1", ... are the modes (P, N_l) of a layer of neurons.
    """
    sizes, shapes = architecture.sizes, dict[str, tuple[int, ...]]()
    if architecture.shared:
        shapes |= {f"xi{layer}": (architecture.n_modes[0], size) for layer, size in enumerate(sizes)}
    for layer, P in enumerate(architecture.n_modes):
        if P == 0:
            shapes[f"W{layer}"] = (sizes[layer + 1], sizes[layer])
        elif not architecture.shared:
            shapes[f"xi_in{layer}"] = (P, sizes[layer])
            shapes[f"xi_out{layer}"] = (P, sizes[layer + 1])
        if P > 0 and architecture.sigma_learns:
            shapes[f"sigma{layer}"] = (P,)
        if architecture.bias:
            shapes[f"bias{layer}"] = (sizes[layer + 1],)
    return shapes


def n_parameters(architecture: Architecture) -> int:
    """Return the number of parameters that learn."""
    return sum(math.prod(shape) for shape in factor_shapes(architecture).values())


def factors(architecture: Architecture, theta: RealArray) -> dict[str, RealArray]:
    """Return views of the flat vector `theta`, (n_parameters,), under the names of `factor_shapes`."""
    views, start = {}, 0
    for name, shape in factor_shapes(architecture).items():
        stop = start + math.prod(shape)
        views[name] = theta[start:stop].reshape(shape)
        start = stop
    return views


def as_layers(architecture: Architecture, theta: RealArray) -> Layers:
    """Return `theta`, (n_parameters,), as layers of views; a sigma or bias that does not learn is an array of its own."""
    views = factors(architecture, theta)
    layers: list[ModeLayer | PlainLayer] = []
    for layer, P in enumerate(architecture.n_modes):
        bias = views.get(f"bias{layer}", np.zeros(architecture.sizes[layer + 1], theta.dtype))
        if P == 0:
            layers.append(PlainLayer(views[f"W{layer}"], bias))
            continue
        sigma = views.get(f"sigma{layer}", np.ones(P, theta.dtype))
        if architecture.shared:
            layers.append(ModeLayer(views[f"xi{layer}"], sigma, views[f"xi{layer + 1}"].T, bias))
        else:
            layers.append(ModeLayer(views[f"xi_in{layer}"], sigma, views[f"xi_out{layer}"].T, bias))
    return tuple(layers)


def check_initialisation(initialisation: object, decomposition: object) -> None:
    """Raise `InvalidInput` for an initialisation that is unknown, or whose modes are not orthonormal where "svd" starts so."""
    check_choice("initialisation", initialisation, INITIALISATIONS)
    if decomposition == "svd" and initialisation != "unit-fields":
        refuse("initialisation", initialisation, "unit-fields with svd, whose modes start orthonormal")
    if initialisation == "spectral" and decomposition in ("shared", "low-rank"):
        refuse("initialisation", initialisation, f"unit-fields or li-huang with {decomposition}, which has no singular modes")


def draw_parameters(
    architecture: Architecture,
    initialisation: str,
    rng: np.random.Generator,
    dtype: npt.DTypeLike = np.float32,
) -> RealArray:
    """Return random initial parameters, (n_parameters,), with biases 0.

    "unit-fields" gives every field z a variance of 1 at any width and P, if the inputs have mean square 1. With q = 1 for the
    inputs and <g(z)^2>, z ~ N(0, 1), for hidden layers, the standard deviations are 1 / sqrt(N_in) for xi_in and 1 / sqrt(P)
    for xi_out, and sigma is 1 / sqrt(q). Where sigma is no parameter the other two share this factor. A matrix that is not
    decomposed has 1 / sqrt(N_in q). Modes of "svd" are orthonormal instead, with sigma = sqrt(N_out / (P q)).

    Shared modes have 1 / sqrt(N_l). There the activity h = g(z) is aligned with the modes that made z, so that
    ``|xi h|^2 = N s^2 ((P - 1) <g^2> + (N - 1) <z g>^2 + <z^2 g^2>)``, s^2 = 1 / N, grows with N rather than with P; sigma
    takes it back.

    "li-huang" is that of Li and Huang (2023): every factor has standard deviation (N ln N)^(-1/6) with the N of the inputs of
    its matrix (of its layer if shared). With q now the mean square of a matrix's inputs its fields have variance P q / ln N for
    "modes", and for the first matrix of "shared" between layers of equal width: of order one only for P of order ln N. Without
    sigma, in "low-rank", it is P q N^(1/3) / (ln N)^(2/3). A matrix that is not decomposed has 1 / sqrt(N), and variance q.
    Modes so drawn are not orthonormal: raises `InvalidInput` for "svd".

    "spectral" draws a whole matrix of standard deviation 1 / sqrt(N_in q) and takes its P leading singular modes, xi_in and
    xi_out of length 1 and sigma the singular values; modes beyond its rank have random directions and sigma 0. Proposed by
    M. Khodak, N. Tenenholtz, L. Mackey and N. Fusi, ICLR 2021, for two factors. Raises `InvalidInput` for "shared", "low-rank"
    and "svd".
    """
    check_initialisation(initialisation, architecture.decomposition)
    if n_parameters(architecture) > _MOST_PARAMETERS:
        many_modes = max(architecture.n_modes) > max(architecture.sizes)
        field, sizes = ("n_modes", architecture.n_modes) if many_modes else ("hidden_layer_sizes", architecture.sizes[1:-1])
        refuse(field, list(sizes), f"a network of at most {_MOST_PARAMETERS} parameters")
    theta = np.zeros(n_parameters(architecture))
    views = factors(architecture, theta)
    for name, view in views.items():
        if not name.startswith("bias"):
            view[...] = rng.standard_normal(view.shape)
    if initialisation == "li-huang":
        _scale_li_huang(architecture, views)
    else:
        _scale_unit_fields(architecture, views)
    if initialisation == "spectral":
        _take_singular_modes(architecture, views, rng)
    return theta.astype(dtype)


def _scale_unit_fields(architecture: Architecture, views: dict[str, RealArray]) -> None:
    sizes = architecture.sizes
    g2, zg, z2g2 = gaussian_moments(architecture.activation)
    for layer, P in enumerate(architecture.n_modes):
        n_in, n_out, q = sizes[layer], sizes[layer + 1], 1.0 if layer == 0 else g2
        if P == 0:
            views[f"W{layer}"] /= math.sqrt(n_in * q)
        elif architecture.shared:
            length2 = P if layer == 0 else (P - 1) * g2 + (n_in - 1) * zg**2 + z2g2
            views[f"xi{layer}"] /= math.sqrt(n_in)
            views[f"sigma{layer}"][...] = math.sqrt(n_out / length2)
        elif architecture.orthogonal:
            for name in (f"xi_in{layer}", f"xi_out{layer}"):
                views[name][...] = np.linalg.qr(views[name].T)[0].T
            views[f"sigma{layer}"][...] = math.sqrt(n_out / (P * q))
        else:
            rest = 1.0 if architecture.sigma_learns else q**-0.25
            views[f"xi_in{layer}"] *= rest / math.sqrt(n_in)
            views[f"xi_out{layer}"] *= rest / math.sqrt(P)
            if architecture.sigma_learns:
                views[f"sigma{layer}"][...] = q**-0.5
    if architecture.shared:
        views[f"xi{len(sizes) - 1}"] /= math.sqrt(sizes[-1])


def _scale_li_huang(architecture: Architecture, views: dict[str, RealArray]) -> None:
    sizes = architecture.sizes
    for name, view in views.items():
        kind = name.rstrip("0123456789")
        layer = int(name[len(kind) :])
        N = max(sizes[layer], 3)
        if kind == "W":
            view /= math.sqrt(N)
        elif kind != "bias":
            view *= (N * math.log(N)) ** (-1.0 / 6.0)


def _take_singular_modes(architecture: Architecture, views: dict[str, RealArray], rng: np.random.Generator) -> None:
    """Write the leading singular modes of random matrices over the modes, whose directions stay where there are no more."""
    q = gaussian_moments(architecture.activation)[0]
    for layer, P in enumerate(architecture.n_modes):
        if P == 0:
            continue
        n_in, n_out = architecture.sizes[layer : layer + 2]
        W = rng.standard_normal((n_out, n_in)) / math.sqrt(n_in * (1.0 if layer == 0 else q))
        left, values, right = np.linalg.svd(W, full_matrices=False)
        for name, modes in ((f"xi_in{layer}", right), (f"xi_out{layer}", left.T)):
            views[name] /= np.linalg.norm(views[name], axis=1, keepdims=True)
            views[name][: len(modes)] = modes[:P]
        views[f"sigma{layer}"][...] = 0
        views[f"sigma{layer}"][: len(values)] = values[:P]
