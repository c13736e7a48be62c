"""SGD on weights against the ODE from every preset's overlaps, where the O(1/N) shift is below the standard error."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats
import xarray as xr

import teacher_student as ts

N_INPUTS, REPLICAS = 2000, 12
# Mid-times well before the end of a plateau: there a run's deviations grow exponentially and no N of a test is large.
TIMES = {"li-huang-2023": 12.0, "all-factors": 4.0, "saad-solla-1995": 4.0, "both-layers": 4.0, "staircase": 4.0}
MOVING = ("Q_modes", "R_modes", "sigma", "v")


def smallest_p_value(theory: xr.Dataset, simulation: xr.Dataset) -> float:
    """Return the p-value of the largest |t| over all entries and times, Bonferroni corrected (two-sided, replicas - 1 dof)."""
    z = ts.compare(theory, simulation).z
    values = np.concatenate([z[name].values.ravel() for name in MOVING])
    values = values[np.isfinite(values)]
    return float(2.0 * scipy.stats.t.sf(np.abs(values).max(), REPLICAS - 1) * len(values))


@pytest.mark.parametrize("name", ts.presets())
def test_the_mean_of_runs_lies_on_the_theory_and_not_on_one_with_a_rate_off(name: str) -> None:
    problem = ts.load_problem(name)
    times = TIMES[name] * np.array([0.25, 0.5, 1.0])
    simulation = ts.simulate(problem, times, n_inputs=N_INPUTS, replicas=REPLICAS, seed=11)
    assert smallest_p_value(ts.integrate(problem, times), simulation) > 1e-3
    rule = dataclasses.replace(problem.rule, eta_xi_in=1.05 * problem.rule.eta_xi_in)
    wrong = ts.integrate(dataclasses.replace(problem, rule=rule), times)
    assert smallest_p_value(wrong, simulation) < 1e-3
