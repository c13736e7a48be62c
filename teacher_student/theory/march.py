"""The march along a solution in compiled code, from step to step, with output at given times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from teacher_student.theory.flow import Flow, fill_jacobian, slope
from teacher_student.theory.stepper import *
from teacher_student.theory.stepper import _DIFFERENCE
from teacher_student.theory.tableaux import Explicit, Rosenbrock

FloatArray = npt.NDArray[np.float64]

REACHED, PAUSED, BEYOND, STUCK = range(4)


@njit(cache=True)
def is_beyond(flow, largest_Q, largest_v):
    K, P = flow.n_units, flow.n_modes
    full = flow.full
    M = len(flow.v_teacher)
    start = P * P + P * M
    for i in range(len(full)):
        if not np.isfinite(full[i]):
            return True
    end = start + P + K*P
    for k in range(K):
        if not abs(full[end + k]) <= largest_v:
            return True
    for k in range(K):
        total = 0.0
        for a in range(P):
            half = 0.0
            for b in range(P):
                half += full[a*P+b] * full[start + P + k*P + b] * full[start + b]
            total += half * full[start + P + k*P + a] * full[start + a]
        if not abs(total) <= largest_Q:
            return True
    return False


@njit(cache=True)
def begin(flow, walk, end, rtol, atol):
    y, f, n = walk.y, walk.f, len(walk.y)
    alpha = walk.alpha[0]
    slope(flow, alpha, y, f)
    d0 = in_units(y, y, y, rtol, atol)
    d1 = in_units(f, y, y, rtol, atol)
    h = 0.01 * d0 / d1 if d0 > 1e-5 and d1 > 1e-5 else 1e-6
    h = min(h, end - alpha)
    for i in range(n):
        walk.new[i] = y[i] + h * f[i]
    slope(flow, alpha + h, walk.new, walk.stages[0])
    for i in range(n):
        walk.stages[0, i] -= f[i]
    d2 = in_units(walk.stages[0], y, y, rtol, atol) / h
    worst = max(d1, d2)
    h1 = max(1e-6, 1e-3*h) if worst <= 1e-15 else (0.01/worst)**(1/8)
    walk.counts[EVALUATIONS] += 2
    walk.alpha[1] = min(100*h, h1)


@njit(cache=True)
def advance(flow, explicit, rosenbrock, walk, end, rtol, atol, largest_Q, largest_v, times, rows, counters, ends, pieces, budget):
    counts = walk.counts
    last = counts[EVALUATIONS] + budget
    x_row = np.empty(len(walk.y))
    fresh = False
    while walk.alpha[0] < end:
        if counts[EVALUATIONS] >= last or counters[1] == len(ends) and len(ends) > 0:
            return PAUSED
        alpha, h = walk.alpha[0], walk.alpha[1]
        arrives = alpha + 1.01 * h >= end
        if arrives:
            h = end - alpha
        if h < 1e-14 * alpha or h < 1e-200:
            return STUCK
        if counts[STIFF] == 0:
            error = explicit_step(flow, explicit, walk, h, rtol, atol)
            order = 8.0
        else:
            if not fresh:
                fill_jacobian(flow, alpha, walk.y, _DIFFERENCE, walk.J)
                counts[JACOBIANS] += 1
                counts[EVALUATIONS] += 2*len(walk.y)
                fresh = True
            error = rosenbrock_step(flow, rosenbrock, walk, h, rtol, atol)
            order = 5.0
        factor = 6.0 if error == 0.0 else min(6.0, max(0.2, 0.9 * error ** (-1.0/order)))
        if not error <= 1.0:
            counts[REJECTED] += 1
            walk.alpha[1] = h * factor
            continue
        reached = end if arrives else alpha + h
        was_stiff = counts[STIFF]
        slope(flow, reached, walk.new, walk.stages[12])
        counts[EVALUATIONS] += 1
        counts[STEPS] += 1
        if counts[STIFF] == 1: counts[8] += 1
        keep = len(ends) > 0
        if keep or (counters[0] < len(times) and times[counters[0]] <= reached):
            if was_stiff:
                rosenbrock_interpolant(rosenbrock, walk)
                choose_method(walk, h)
            else:
                choose_method(walk, h)
                explicit_interpolant(flow, explicit, walk, h)
            while counters[0] < len(times) and times[counters[0]] <= reached:
                interpolate(walk.interpolant, (times[counters[0]] - alpha) / h, rows[counters[0]])
                counters[0] += 1
            if keep:
                for j in range(8):
                    copy_numbers(walk.interpolant[j], pieces[counters[1], j])
                ends[counters[1]] = reached
                counters[1] += 1
        else:
            choose_method(walk, h)
        fresh = False
        copy_numbers(walk.new, walk.y)
        copy_numbers(walk.stages[12], walk.f)
        walk.alpha[0] = reached
        walk.alpha[1] = max(walk.alpha[1], h*factor) if arrives else h * factor
        if is_beyond(flow, largest_Q, largest_v):
            return BEYOND
    return REACHED
