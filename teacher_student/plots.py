"""Figures for papers, of trajectories, comparisons and sweeps; each function returns (fig, ax)."""

from __future__ import annotations

from teacher_student.figure_style import COLOURS, DASHES, MARKERS
from teacher_student.sweep_figures import family, phase_diagram
from teacher_student.trajectory_figures import (
    comparison,
    finite_size_scaling,
    generalisation_error,
    overlap_entries,
    student_teacher_overlaps,
)

__all__ = [
    "COLOURS",
    "DASHES",
    "MARKERS",
    "comparison",
    "family",
    "finite_size_scaling",
    "generalisation_error",
    "overlap_entries",
    "phase_diagram",
    "student_teacher_overlaps",
]
