"""Linear units: the moment equations are affine and exactly solvable, for N -> infinity and, for the mean, at every finite N.

Let W be the (P + M, N) matrix of input modes above teacher weights, G = W W^T / N, e = (B^T v, 0) and c = (B^T v, -v*). A
sample x with label noise s z has delta = c^T W x / sqrt(N) - s z, and a step is W' = D W - eta / (b sqrt(N)) e sum_i delta_i
x_i^T, with D = 1 - eta kappa / N on the modes and 1 on the teacher. With a = c^T G c, the averages over Gaussian inputs
<delta x^T W^T> = sqrt(N) c^T G, <delta_i^2 |x_i|^2> = (N + 2) a + N s^2 and <delta_i delta_j x_i . x_j> = a give

    <G'> = D G D - (eta / N) (e c^T G D + D G c e^T) + eta^2 / (b N^2) e e^T ((N + 1 + b) a + N s^2),

an affine map of G, with Kronecker products as its matrix; for N -> infinity it is N times what a step changes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg

import teacher_student as ts

LARGEST_Z = 4.5
TIMES = [0.5, 1.0, 2.0, 4.0]
N_INPUTS = 12
REPLICAS = 3000


@pytest.fixture(scope="module")
def problem(make_problem: Callable[..., ts.Problem]) -> ts.Problem:
    rule = {"eta_sigma": 0.0, "eta_xi_out": 0.0, "eta_v": 0.0, "eta_xi_in": 0.3}
    return make_problem(4, 3, 2, activation="linear", noise=0.5, weight_decay=0.2, batch_size=2, **rule)


def affine_map(problem: ts.Problem, n_inputs: float, own_square: float | None = None) -> np.ndarray:
    """Return the matrix A that makes N (<vec G'> - vec G, 0) = A (vec G, 1); `own_square` replaces N + 1 + b."""
    state, rule = problem.initial, problem.rule
    P, M, N, b = state.n_modes, state.n_teacher, n_inputs, rule.batch_size
    eta, identity = rule.eta_xi_in, np.eye(P + M)
    e = np.concatenate([state.B.T @ state.v, np.zeros(M)])
    c = np.concatenate([state.B.T @ state.v, -state.v_teacher])
    kept = np.concatenate([np.ones(P), np.zeros(M)])
    decay = -eta * rule.weight_decay * np.diag(kept)
    D = identity + decay / N
    ee = np.outer(e, e).ravel()
    one_field = (N + 1 + b if own_square is None else own_square) / N
    A = np.zeros((len(ee) + 1, len(ee) + 1))
    A[:-1, :-1] = np.kron(decay, identity) + np.kron(identity, decay) + np.kron(decay, decay) / N
    A[:-1, :-1] -= eta * (np.kron(np.outer(e, c), D) + np.kron(D, np.outer(e, c)))
    A[:-1, :-1] += eta**2 / b * one_field * np.outer(ee, np.kron(c, c))
    A[:-1, -1] = eta**2 / b * rule.noise**2 * ee
    return A


def gram(problem: ts.Problem) -> np.ndarray:
    state = problem.initial
    joint = np.block([[state.Q_modes, state.R_modes], [state.R_modes.T, state.T]])
    return np.append(joint.ravel(), 1.0)


def blocks(problem: ts.Problem, vector: np.ndarray) -> dict[str, np.ndarray]:
    """Return Q_modes, R_modes and eps_g of a vectorised G."""
    P, v_teacher = problem.initial.n_modes, problem.initial.v_teacher
    G = vector[:-1].reshape(P + len(v_teacher), -1)
    c = np.concatenate([problem.initial.B.T @ problem.initial.v, -v_teacher])
    return {"Q_modes": G[:P, :P], "R_modes": G[:P, P:], "eps_g": np.array(0.5 * c @ G @ c)}


def limit(problem: ts.Problem, time: float) -> dict[str, np.ndarray]:
    return blocks(problem, scipy.linalg.expm(affine_map(problem, 1e300) * time) @ gram(problem))


def mean_at_finite_n(problem: ts.Problem, time: float, own_square: float | None = None) -> dict[str, np.ndarray]:
    step = np.eye(len(gram(problem))) + affine_map(problem, N_INPUTS, own_square) / N_INPUTS
    return blocks(problem, np.linalg.matrix_power(step, round(time * N_INPUTS)) @ gram(problem))


def test_the_ode_is_the_matrix_exponential(problem: ts.Problem, record_check: Callable[..., None]) -> None:
    theory = ts.integrate(problem, TIMES, progress=False)

    def difference(expected: Callable[[float], dict[str, np.ndarray]]) -> float:
        return max(
            float(np.abs(theory[name].sel(alpha=time).values - value).max())
            for time in TIMES
            for name, value in expected(time).items()
        )

    error = difference(lambda time: limit(problem, time))
    record_check("linear units: solution of the ODEs, difference", "matrix exponential", error, 1e-8)
    # Negative control: the exact mean at N = 12 is not the limit.
    assert difference(lambda time: mean_at_finite_n(problem, time)) > 1e-3


@pytest.mark.parametrize("method", ["overlaps", "weights"])
def test_the_mean_of_runs_at_twelve_inputs_is_the_exact_one(
    problem: ts.Problem, method: str, record_check: Callable[..., None]
) -> None:
    """No expansion in 1/N is in this. Negative controls: the limit N -> infinity, and the recursion without its 1 + b."""
    runs = ts.simulate(problem, TIMES, n_inputs=N_INPUTS, replicas=REPLICAS, seed=3, method=method, progress=False)

    def largest_z(expected: Callable[[float], dict[str, np.ndarray]]) -> float:
        scores = []
        for time in TIMES:
            for name, value in expected(time).items():
                values = runs[name].sel(alpha=time).values
                error = values.std(axis=0, ddof=1) / np.sqrt(REPLICAS)
                scores.append(np.abs((values.mean(axis=0) - value) / error).max())
        return float(np.max(scores))

    z = largest_z(lambda time: mean_at_finite_n(problem, time))
    record_check("linear units: mean of runs at N = 12, largest |z|", "exact recursion", z, LARGEST_Z)
    assert largest_z(lambda time: limit(problem, time)) > LARGEST_Z
    assert largest_z(lambda time: mean_at_finite_n(problem, time, own_square=N_INPUTS)) > LARGEST_Z
