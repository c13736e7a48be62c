"""The model of a problem: its rule, teacher and activations put together for compiled code."""

from __future__ import annotations

import numpy as np

from teacher_student.activations import get_activations
from teacher_student.arrays import FloatArray
from teacher_student.bundles import Units, rule_bundle, teacher_bundle
from teacher_student.gaussian_averages import averages_of
from teacher_student.layout import Sizes
from teacher_student.order_parameters import OrderParameters
from teacher_student.problem import LearningRule
from teacher_student.theory.model import Averages, Inputs, Model, work_size


def memory_of(rule: LearningRule) -> FloatArray:
    """Return the matrix `memory` of `rule`, which has no momentum at fixed beta."""
    return np.zeros((1, 1)) if rule.friction is None else np.array([[0.0, 1.0], [0.0, -rule.friction]])


def model_of(state: OrderParameters, rule: LearningRule, sizes: Sizes, points: FloatArray | None = None) -> Model:
    """Return the model of a student and teacher of the `sizes`, the teacher that of `state`.

    Momentum at fixed beta becomes the plain rule that it amounts to at leading order in 1/N. `points` are those of sampled
    averages, which are taken over nothing where there are none.
    """
    rule = rule.without_momentum
    student, teacher = get_activations(rule.activation, rule.teacher_activation)
    # Where no family has both activations, one of the right type that is never called stands in.
    family = averages_of(student, teacher) or averages_of(*get_activations("erf"))
    assert family is not None
    return Model(
        sizes=sizes,
        averages=Averages(family.averages, family.parameters),
        points=np.empty((0, sizes.M + sizes.P)) if points is None else np.ascontiguousarray(points),
        units=Units(student.g, student.g_prime, teacher.g),
        teacher=teacher_bundle(state),
        rule=rule_bundle(rule),
        inputs=Inputs(np.ones(sizes.blocks), np.ones(sizes.blocks)),
        memory=memory_of(rule),
        work=np.empty(work_size(sizes)),
    )
