"""Forward and backward passes in factored form: against products of matrices and finite differences, in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from teacher_student.arrays import FloatArray
from teacher_student.deep.activations import ACTIVATIONS, gaussian_moments, get_activation
from teacher_student.deep.gradient import add_orthogonality, backward, cross_entropy, forward, squared_error
from teacher_student.deep.network import (
    DECOMPOSITIONS,
    Architecture,
    Layers,
    ModeLayer,
    as_layers,
    build_architecture,
    draw_parameters,
    factors,
    n_parameters,
)
from teacher_student.errors import InvalidInput

SIZES = (5, 7, 6, 3)
LONG = (40, 36, 50, 33)  # products with few modes are compiled


def network(
    decomposition: str, activation: str = "tanh", n_modes: object = 4, sizes: tuple[int, ...] = SIZES
) -> tuple[Architecture, FloatArray]:
    """Return a small network with generic parameters, biases included."""
    architecture = build_architecture(sizes, n_modes, decomposition, activation)
    rng = np.random.default_rng(3)
    return architecture, rng.normal(0.0, 0.6, n_parameters(architecture))


def loss_and_gradient(
    architecture: Architecture, theta: FloatArray, x: FloatArray, target: FloatArray, orthogonality: float = 0.0
) -> tuple[float, FloatArray]:
    """Return the loss (cross-entropy for integer targets) and the package's gradient."""
    layers, activation = as_layers(architecture, theta), get_activation(architecture.activation)
    fields = forward(layers, activation, x)
    loss = cross_entropy if target.dtype.kind == "i" else squared_error
    value, output_gradient = loss(fields.fields[-1], target)
    gradient = np.zeros_like(theta)
    gradient_layers = as_layers(architecture, gradient)
    backward(layers, activation, fields, output_gradient, gradient_layers)
    if orthogonality:
        value += add_orthogonality(layers, gradient_layers, orthogonality)
    return value, gradient


def finite_differences(architecture: Architecture, theta: FloatArray, *arguments: object) -> FloatArray:
    """Return central differences of the loss, of error h^2 = 1e-10 relative to the third derivative."""
    h, result = 1e-5, np.empty_like(theta)
    for i in range(len(theta)):
        up, down = theta.copy(), theta.copy()
        up[i] += h
        down[i] -= h
        result[i] = (
            loss_and_gradient(architecture, up, *arguments)[0] - loss_and_gradient(architecture, down, *arguments)[0]
        ) / (2 * h)
    return result


@pytest.mark.parametrize("decomposition", DECOMPOSITIONS)
@pytest.mark.parametrize("classification", [True, False])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_gradients_are_those_of_finite_differences(decomposition: str, classification: bool, activation: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((9, SIZES[0]))
    target = rng.integers(0, 3, 9) if classification else rng.standard_normal((9, 3))
    orthogonality = 0.3 if decomposition == "svd" else 0.0
    architecture, theta = network(decomposition, activation, n_modes=3)
    _, gradient = loss_and_gradient(architecture, theta, x, target, orthogonality)
    expected = finite_differences(architecture, theta, x, target, orthogonality)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
    assert np.abs(expected).min() > 0 or activation == "relu"  # which has units that no input activates


@pytest.mark.parametrize("decomposition", DECOMPOSITIONS)
def test_gradients_of_long_layers_are_those_of_finite_differences(decomposition: str) -> None:
    """Along six directions each in one factor or bias of every matrix, since there are too many parameters to take one by one."""
    rng = np.random.default_rng(1)
    x, target = rng.standard_normal((9, LONG[0])), rng.standard_normal((9, LONG[-1]))
    architecture, theta = network(decomposition, n_modes=5, sizes=LONG)
    theta *= 0.3
    orthogonality = 0.3 if decomposition == "svd" else 0.0
    _, gradient = loss_and_gradient(architecture, theta, x, target, orthogonality)
    h = 1e-5
    for name in factors(architecture, theta):
        for _ in range(6):
            direction = np.zeros_like(theta)
            view = factors(architecture, direction)[name]
            view[...] = rng.standard_normal(view.shape)
            up, down = (loss_and_gradient(architecture, theta + s * direction, x, target, orthogonality)[0] for s in (h, -h))
            assert gradient @ direction == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-8), name


def test_gradients_hold_for_modes_of_different_numbers() -> None:
    rng = np.random.default_rng(2)
    x, target = rng.standard_normal((9, SIZES[0])), rng.standard_normal((9, 3))
    architecture, theta = network("modes", n_modes=(2, 5, 1))
    _, gradient = loss_and_gradient(architecture, theta, x, target)
    np.testing.assert_allclose(gradient, finite_differences(architecture, theta, x, target), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("decomposition", DECOMPOSITIONS)
@pytest.mark.parametrize("sizes", [SIZES, LONG])
def test_fields_are_those_of_the_product_matrix(decomposition: str, sizes: tuple[int, ...]) -> None:
    architecture, theta = network(decomposition, n_modes=3, sizes=sizes)
    x = np.random.default_rng(4).standard_normal((6, sizes[0]))
    layers = as_layers(architecture, theta)
    h = x
    for index, layer in enumerate(layers):
        W = layer.xi_out @ np.diag(layer.sigma) @ layer.xi_in if isinstance(layer, ModeLayer) else layer.W
        z = h @ W.T + layer.bias
        h = np.tanh(z)
        np.testing.assert_allclose(forward(layers, get_activation("tanh"), x).fields[index], z, rtol=1e-12, atol=1e-12)


def test_fields_do_not_depend_on_how_factors_lie_in_memory() -> None:
    """Factors that are slices, as those of which modes were removed may be, are no rows without gaps."""
    architecture, theta = network("modes", n_modes=6, sizes=LONG)
    x = np.random.default_rng(4).standard_normal((6, LONG[0]))
    layers = as_layers(architecture, theta)
    kept = np.array([0, 2, 3, 5])
    modes = [m for m in layers if isinstance(m, ModeLayer)]
    gathered = [ModeLayer(m.xi_in[kept], m.sigma[kept], m.xi_out[:, kept], m.bias) for m in modes]
    turned = [ModeLayer(np.asfortranarray(m.xi_in), m.sigma, np.ascontiguousarray(m.xi_out), m.bias) for m in gathered]
    rows = [ModeLayer(np.ascontiguousarray(m.xi_in), m.sigma, np.asfortranarray(m.xi_out), m.bias) for m in gathered]
    expected = forward(tuple(rows), get_activation("tanh"), x).fields[-1]
    assert not turned[0].xi_in.flags.c_contiguous
    for other in (gathered, turned):
        np.testing.assert_allclose(forward(tuple(other), get_activation("tanh"), x).fields[-1], expected, rtol=1e-12, atol=1e-12)


def test_shared_modes_are_the_same_numbers_on_both_sides_of_a_layer() -> None:
    architecture, theta = network("shared")
    layers = as_layers(architecture, theta)
    for before, after in itertools.pairwise(layers):
        assert isinstance(before, ModeLayer)
        assert isinstance(after, ModeLayer)
        assert np.shares_memory(before.xi_out, after.xi_in)
        np.testing.assert_array_equal(before.xi_out.T, after.xi_in)


def test_numbers_of_parameters() -> None:
    P, (N0, N1, N2, N3) = 3, SIZES
    biases = N1 + N2 + N3
    expected = {
        "modes": P * (N0 + 2 * N1 + 2 * N2 + N3 + 3) + biases,
        "svd": P * (N0 + 2 * N1 + 2 * N2 + N3 + 3) + biases,
        "low-rank": P * (N0 + 2 * N1 + 2 * N2 + N3) + biases,
        "shared": P * (N0 + N1 + N2 + N3 + 3) + biases,
        "none": N0 * N1 + N1 * N2 + N2 * N3 + biases,
    }
    for decomposition, number in expected.items():
        assert n_parameters(build_architecture(SIZES, P, decomposition, "relu")) == number


def test_moments_of_the_activations() -> None:
    """Closed forms: relu by symmetry, erf by the arcsine law and Stein's lemma, linear by Wick."""
    assert gaussian_moments("linear") == pytest.approx((1.0, 1.0, 3.0), rel=1e-12)
    assert gaussian_moments("relu") == pytest.approx((0.5, 0.5, 1.5), rel=1e-12)
    g2, zg, _ = gaussian_moments("erf")
    assert g2 == pytest.approx(1 / 3, rel=1e-10)
    assert zg == pytest.approx(np.sqrt(2 / np.pi) / np.sqrt(2), rel=1e-10)


def field_variances(decomposition: str, initialisation: str, N: int, P: int, activation: str = "relu") -> FloatArray:
    """Return <z^2> of each matrix, over inputs of mean square 1 and 12 draws of the parameters: (draws, matrices)."""
    sizes = (N, N, N, 40)
    architecture = build_architecture(sizes, P, decomposition, activation)
    variances = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        theta = draw_parameters(architecture, initialisation, rng, np.float64)
        x = rng.standard_normal((30, N))
        fields = forward(as_layers(architecture, theta), get_activation(activation), x).fields
        variances.append([float((z**2).mean()) for z in fields])
    return np.array(variances)


@pytest.mark.parametrize("decomposition", DECOMPOSITIONS)
@pytest.mark.parametrize(("N", "P"), [(60, 4), (60, 25), (400, 4), (400, 25)])
def test_fields_start_of_order_one_at_any_width_and_number_of_modes(decomposition: str, N: int, P: int) -> None:
    # Exact means are 1 with independent factors; 0.12 is for what shared and orthogonal modes lack at N = 60 and small P.
    variances = field_variances(decomposition, "unit-fields", N, P)
    assert np.all(np.abs(variances.mean(axis=0) - 1) < 5 * variances.std(axis=0, ddof=1) / np.sqrt(12) + 0.12)


@pytest.mark.parametrize("decomposition", ["modes", "shared"])
def test_li_huang_fields_are_of_order_one_only_for_few_modes(decomposition: str) -> None:
    """The variance of the first fields is P / ln N: the same criterion fails for P well above ln N (negative control)."""
    for N, P in ((60, 4), (400, 25)):
        first = field_variances(decomposition, "li-huang", N, P)[:, 0]
        error = first.std(ddof=1) / np.sqrt(12)
        assert abs(first.mean() - P / np.log(N)) < 4 * error
    assert abs(first.mean() - 1) > 5 * error + 0.12


def test_li_huang_fields_of_deeper_and_other_matrices() -> None:
    """P q / ln N holds at any depth of "modes" with the inputs' mean square q, and not without sigma (negative control)."""
    N, P = 400, 8
    for decomposition, expected in (
        ("modes", P / np.log(N)),
        ("low-rank", P * N ** (1 / 3) / np.log(N) ** (2 / 3)),
        ("none", 1.0),
    ):
        variances = field_variances(decomposition, "li-huang", N, P)
        q = np.column_stack([np.ones(12), variances[:, :-1] / 2])  # relu lets half of it pass
        ratios = variances / (q * expected)
        assert np.all(np.abs(ratios.mean(axis=0) - 1) < 4 * ratios.std(axis=0, ddof=1) / np.sqrt(12) + 0.01)
        if decomposition == "low-rank":
            wrong = variances[:, 0] * np.log(N) / P
            assert abs(wrong.mean() - 1) > 5 * wrong.std(ddof=1) / np.sqrt(12) + 0.01


def test_svd_refuses_modes_that_do_not_start_orthonormal() -> None:
    architecture = build_architecture(SIZES, 2, "svd", "relu")
    with pytest.raises(InvalidInput, match=r"^initialisation: got 'li-huang', expected unit-fields with svd"):
        draw_parameters(architecture, "li-huang", np.random.default_rng(0))


@pytest.mark.parametrize(
    ("n_modes", "decomposition", "field"),
    [
        (0, "modes", "n_modes"),
        (2.5, "modes", "n_modes"),
        (True, "modes", "n_modes"),
        ((3, 3), "modes", "n_modes"),
        ((3, 3, 2), "shared", "n_modes"),
        (3, "pca", "decomposition"),
    ],
)
def test_impossible_architectures_are_refused(n_modes: object, decomposition: str, field: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}: got"):
        build_architecture(SIZES, n_modes, decomposition, "relu")


def test_svd_has_no_more_modes_than_can_be_orthogonal_and_starts_orthonormal() -> None:
    architecture = build_architecture((5, 40, 3), 8, "svd", "relu")
    assert architecture.n_modes == (5, 3)
    theta = draw_parameters(architecture, "unit-fields", np.random.default_rng(0), np.float64)
    for layer in as_layers(architecture, theta):
        assert isinstance(layer, ModeLayer)
        np.testing.assert_allclose(layer.xi_in @ layer.xi_in.T, np.eye(len(layer.sigma)), atol=1e-12)
        np.testing.assert_allclose(layer.xi_out.T @ layer.xi_out, np.eye(len(layer.sigma)), atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_spectral_modes_are_the_leading_ones_of_a_matrix_as_standard_training_draws_it(activation: str) -> None:
    """With all modes the matrix has the law of a whole one; with fewer, its leading singular values; with more, sigma 0."""
    sizes = (30, 20, 12)

    def start(n_modes: int, decomposition: str = "modes", initialisation: str = "spectral", seed: int = 0) -> Layers:
        architecture = build_architecture(sizes, n_modes, decomposition, activation)
        return as_layers(architecture, draw_parameters(architecture, initialisation, np.random.default_rng(seed), np.float64))

    for matrix, rank in ((0, 20), (1, 12)):
        few, all_of_them = start(5)[matrix], start(rank)[matrix]
        assert few.sigma.min() > 0
        for modes in (few.xi_in, few.xi_out.T):
            np.testing.assert_allclose(modes @ modes.T, np.eye(5), atol=1e-12)
        more = start(rank + 3)[matrix]
        assert more.sigma[rank:].tolist() == [0, 0, 0]
        np.testing.assert_allclose(np.linalg.norm(more.xi_in, axis=1), 1.0)
        assert (np.diff(all_of_them.sigma) <= 0).all()
        squares, whole, leading = [], [], []
        for seed in range(60):
            layer, plain = start(rank, seed=seed)[matrix], start(rank, "none", "unit-fields", seed)[matrix]
            squares.append((((layer.xi_out * layer.sigma) @ layer.xi_in) ** 2).mean())
            whole.append((plain.W**2).mean())
            leading.append(start(3, seed=seed)[matrix].sigma.sum() - np.linalg.svd(plain.W, compute_uv=False)[:3].sum())
        error = np.std(squares) / np.sqrt(60)
        assert abs(np.mean(squares) - np.mean(whole)) < 4 * np.hypot(error, np.std(whole) / np.sqrt(60))
        assert abs(np.mean(squares) * 2 - np.mean(whole)) > 8 * error  # the negative control
        assert abs(np.mean(leading)) < 4 * np.std(leading) / np.sqrt(60)


@pytest.mark.parametrize("decomposition", ["shared", "low-rank", "svd"])
def test_a_spectral_start_is_refused_where_modes_cannot_be_singular(decomposition: str) -> None:
    architecture = build_architecture(SIZES, 2, decomposition, "relu")
    with pytest.raises(InvalidInput, match=r"^initialisation: got 'spectral', expected unit-fields"):
        draw_parameters(architecture, "spectral", np.random.default_rng(0))


def test_factors_are_views_that_cover_the_flat_vector() -> None:
    for decomposition in DECOMPOSITIONS:
        architecture, theta = network(decomposition, n_modes=2)
        for view in factors(architecture, theta).values():
            assert np.shares_memory(view, theta)
            view[...] = 7.0
        assert np.all(theta == 7.0)
