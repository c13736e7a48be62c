"""A problem that takes no time."""

from __future__ import annotations

PROBLEM = """
name = "small"
description = "two units"
[initial]
kind = "plain"
Q = [[0.2, 0.0], [0.0, 0.3]]
R = [[0.1, 0.0], [0.0, 0.05]]
T = [[1.0, 0.0], [0.0, 1.0]]
v = [1.0, 1.0]
v_teacher = [1.0, 1.0]
[rule]
eta_xi_in = 0.5
[run]
alpha = { first = 0.1, last = 5.0, points = 8 }
n_inputs = 60
replicas = 4
"""
