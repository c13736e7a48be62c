"""Integration until nothing changes: at stable fixed points and not on plateaus, with a reason where it is not reached."""

from __future__ import annotations

import numpy as np
import pytest

import teacher_student as ts

PROBLEM = ts.load_problem("saad-solla-1995")


def test_it_ends_at_the_stable_fixed_point() -> None:
    noisy = PROBLEM.replace(noise=0.2, alpha=100.0)  # on the plateau
    found = ts.integrate_until_stationary(noisy, progress=False)
    assert found.attrs["stationary"] == "reached"
    last = float(found["alpha"][-1])
    assert last > 100.0
    point = ts.fixed_point(noisy, near=last)
    assert point.n_unstable == 0
    assert found.attrs["stationary_eps_g"] == pytest.approx(point.eps_g, rel=1e-9)
    since = found.attrs["stationary_since"]
    settled = found["eps_g"].sel(alpha=slice(since, None)).values
    assert np.all(np.abs(settled / point.eps_g - 1.0) <= 1e-3)
    before = found["eps_g"].sel(alpha=slice(None, since)).values[-2]
    assert abs(before / point.eps_g - 1.0) > 1e-3
    np.testing.assert_array_equal(found["alpha"].values[: len(noisy.alpha)], noisy.alpha)


def test_perfect_learning_is_reached_within_rounding() -> None:
    found = ts.integrate_until_stationary(PROBLEM, progress=False)
    assert found.attrs["stationary"] == "reached"
    assert abs(found["eps_g"].values[-1]) <= ts.resolved_eps_g(found)


def test_a_plateau_is_not_stationary() -> None:
    found = ts.integrate_until_stationary(PROBLEM, 60.0, progress=False)
    assert found.attrs["stationary"].startswith("not reached at alpha = 60: the fixed point nearby, with eps_g = 0.0321, has 4 ")
    assert found.attrs["stationary"].endswith("unstable direction(s): a plateau")
    assert np.isnan(found.attrs["stationary_since"])
    # Where it changes by less than a thousandth: a rule that looks at the change alone would stop.
    slow = found["eps_g"].interp(alpha=[40.0, 42.0]).values
    assert abs(slow[1] / slow[0] - 1.0) < 1e-2


def test_what_still_changes_is_not_stationary() -> None:
    found = ts.integrate_until_stationary(PROBLEM.replace(noise=0.2), 260.0, progress=False)
    assert "is not yet that of the stable fixed point nearby" in found.attrs["stationary"]
    assert found["alpha"].values[-1] == 260.0


@pytest.mark.parametrize(
    ("changes", "options", "field"),
    [
        ({"eta_xi_in": 0.0}, {}, "rule"),
        ({"eta_xi_in": ts.PowerLaw(1.0, 1.0, 1.0)}, {}, "rule.eta_xi_in"),
        ({"friction": 1.0}, {}, "rule.friction"),
        ({}, {"largest": -1.0}, "largest"),
        ({}, {"tolerance": 2.0}, "tolerance"),
        ({}, {"progress": "no"}, "progress"),
    ],
)
def test_what_has_no_stationary_state_is_refused(changes: dict[str, object], options: dict[str, object], field: str) -> None:
    with pytest.raises(ts.InvalidInput, match=f"^{field}: got "):
        ts.integrate_until_stationary(PROBLEM.replace(**changes), **options)
