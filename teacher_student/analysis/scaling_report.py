"""Finite-size scaling as Markdown: the verdict on both powers of N, and what was measured at every N."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teacher_student.analysis.scaling import Exponent, Scaling

_WHAT = {
    "spread": "spread between runs, in units of sqrt(V)",
    "deviation": "deviation of the mean from the ODE, along the predicted shift and in units of it",
}


def scaling_report(scaling: Scaling, title: str, command: str | None = None) -> str:
    """Return the scaling of the problem called `title` as Markdown."""
    sizes = ", ".join(f"{N} ({runs})" for N, runs in zip(scaling.n_inputs, scaling.replicas, strict=True))
    fits = (scaling.spread_exponent, scaling.deviation_exponent)
    lines = [
        f"# {title}: finite-size scaling",
        "",
        *([f"- Command: `{command}`"] if command else []),
        f"- N (and runs of the exact chain at each): {sizes}",
        "",
        "## Verdict",
        "",
        f"**{scaling.outcome}**",
        "",
        scaling.meaning,
        "",
        "| | predicted | fitted | amplitude (predicted 1) | chi-square of the fit | p |",
        "|---|---|---|---|---|---|",
    ]
    for name, fit, p in zip(_WHAT, fits, scaling.p_values, strict=True):
        lines.append(f"| {name} | N^({fit.predicted:g}) | {_fitted(fit)} | {p:.2g} |")
    lines += [
        "",
        f"p is that of an exponent as far from the predicted one, of which {scaling.next_order:.2g} is allowed for the next "
        "order in 1/N at the smallest N.",
        "",
        "## Measured",
        "",
        *(f"- {name}: {what}" for name, what in _WHAT.items()),
        "",
        "| N | runs | spread | predicted | deviation | predicted |",
        "|---|---|---|---|---|---|",
    ]
    for i, (N, runs) in enumerate(zip(scaling.n_inputs, scaling.replicas, strict=True)):
        spread = f"{scaling.spread[i]:.4g} +- {scaling.spread_error[i]:.1g}"
        deviation = f"{scaling.deviation[i]:.4g} +- {scaling.deviation_error[i]:.1g}"
        lines.append(f"| {N} | {runs} | {spread} | {N**-0.5:.4g} | {deviation} | {1.0 / N:.4g} |")
    return "\n".join([*lines, ""])


def _fitted(fit: Exponent) -> str:
    return (
        f"N^({fit.value:.3f} +- {fit.error:.3f}) | {fit.amplitude:.3g} | {fit.chi_square:.1f} of {fit.degrees} degrees of freedom"
    )
