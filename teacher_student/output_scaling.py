"""Problems with a factor of the output that depends on the width.

The output is omega sum_k v_k g(lambda_k) with omega = omega(K), that of the teacher has the factor omega(M). SGD follows the
gradient of this output, so that omega appears once in every step: with v' = omega v the steps of xi_in, sigma and xi_out are
those of a network with output weights v' and no factor, and v'_k moves by -omega^2 eta_v / N delta g(lambda_k). A problem with a
factor is therefore equivalent to one without, with output weights omega v and the rate omega^2 eta_v
(docs/theory.rst: `output-factor`). All other modules see the problem without factor.
"""

from __future__ import annotations

import dataclasses

from teacher_student.errors import refuse
from teacher_student.output_factors import OUTPUT_SCALINGS, Applied, check_output_scaling
from teacher_student.problem import Problem, check_problem
from teacher_student.schedules import largest_rate, scaled


def with_output_scaling(problem: Problem, output_scaling: str) -> Problem:
    """Return `problem` with the factor omega in the outputs: v, v_teacher, eta_v and v_velocity of it are stated without omega.

    Parameters
    ----------
    problem : Problem
        v of an output omega(K) sum_k v_k g(lambda_k), v_teacher of omega(M) sum_m v*_m g(rho_m), and the rate eta_v of this v.
    output_scaling : str
        "1", "1/K" or "1/sqrt(K)"; for the teacher with M in place of K.

    Returns
    -------
    Problem
        The equivalent one without factor: output weights omega(K) v and omega(M) v_teacher, rate omega(K)^2 eta_v, velocities
        omega(K) v_velocity of a rule with friction. Other rates are the same, not multiplied by any power of K. Its
        `output_scaling` says how it was stated.

    Raises
    ------
    InvalidInput
        For another name; if `problem` is none or has a factor already; if output weights learn and decay, for omega v would decay
        with a constant kappa / omega^2 of its own.
    """
    check_problem(problem)
    check_output_scaling(output_scaling)
    if problem.output_scaling != "1":
        refuse("output_scaling", output_scaling, f"a problem without one, not one of scaling {problem.output_scaling} already")
    initial, rule = problem.initial, problem.rule
    scale, teacher_scale = (OUTPUT_SCALINGS[output_scaling](n) for n in (initial.n_units, initial.n_teacher))
    if scale != 1.0 and largest_rate(rule.eta_v) > 0.0 and rule.weight_decay > 0.0:
        refuse("rule.weight_decay", rule.weight_decay, f"0 where output weights learn with output scaling {output_scaling}")
    velocity = problem.velocity
    if velocity is not None:
        velocity = dataclasses.replace(velocity, v_velocity=scale * velocity.v_velocity)
    return dataclasses.replace(
        problem,
        initial=dataclasses.replace(initial, v=scale * initial.v, v_teacher=teacher_scale * initial.v_teacher),
        rule=dataclasses.replace(rule, eta_v=scaled(rule.eta_v, scale**2)),
        velocity=velocity,
        output_scaling=Applied(output_scaling),
    )
