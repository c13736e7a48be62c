"""A film of learning: eps_g with a moving point beside the student-teacher overlap matrix as it specialises."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from teacher_student.arrays import FloatArray
from teacher_student.errors import InvalidInput, check_whole, refuse
from teacher_student.figure_style import COLOURS
from teacher_student.files import check_path, check_writable, replacing
from teacher_student.smooth_theory import smooth_theory
from teacher_student.summaries import named
from teacher_student.trajectory import normalized_overlaps, resolved_times
from teacher_student.trajectory_form import as_trajectory, kind_of, problem_of

_FRAMES_PER_SECOND = 12
_DPI = 100
_MOST_TICKS = 12


class _Scene(NamedTuple):
    """What a film shows: times (alpha,), eps_g (alpha,) with NaN where it is not resolved, cosines (alpha, K, M), and a title."""

    alpha: FloatArray
    eps_g: FloatArray
    cosines: FloatArray
    title: str


def animate(trajectory: xr.Dataset, path: str | Path, n_frames: int = 60) -> None:
    """Write a GIF of `trajectory` with `n_frames` frames, evenly spaced in ln alpha.

    On the left eps_g against alpha, on the right the cosines R_km / sqrt(Q_kk T_mm), teacher units as columns; above them the
    rule and the time. Of a simulation it shows the first replica, because replicas specialise differently and their mean is no
    network's state.

    Raises
    ------
    InvalidInput
        If the name does not end in .gif, the place cannot be written, there are fewer than 2 frames, for what is no trajectory,
        or for fewer than 2 output times above 0.
    """
    path = check_path(path, "output")
    if path.suffix.lower() != ".gif":
        refuse("output", str(path), "a name that ends in .gif")
    check_writable(path.parent, path)
    n_frames = check_whole("n_frames", n_frames, least=2)
    trajectory = as_trajectory(trajectory, variables=("Q", "R", "eps_g", "T", "v_teacher"))
    if (trajectory["alpha"].values > 0).sum() < 2:
        refuse("alpha", f"{(trajectory['alpha'].values > 0).sum()} output time(s) above 0", "at least 2")
    scene = _scene(trajectory)
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.4), width_ratios=(3, 2), layout="constrained")
    figure.set_layout_engine("constrained", w_pad=0.1)
    try:
        pictures = [Image.fromarray(pixels) for pixels in _frames(figure, axes, scene, frame_times(scene.alpha, n_frames))]
    finally:
        plt.close(figure)
    # One palette for all frames, made of the first and the last, between which colours change most.
    both = Image.fromarray(np.concatenate([np.asarray(pictures[0]), np.asarray(pictures[-1])]))
    palette = both.quantize(256, dither=Image.Dither.NONE)
    first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    with replacing(path) as temporary:
        milliseconds = 1000 // _FRAMES_PER_SECOND
        first.save(temporary, format="GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)


def _scene(trajectory: xr.Dataset) -> _Scene:
    kind = kind_of(trajectory)
    run = trajectory.isel(replica=0) if "replica" in trajectory.dims else trajectory
    if kind == "theory":
        run = smooth_theory(run)
    run = run.isel(alpha=run["alpha"].values > 0)
    which = r"theory, $N\to\infty$" if kind == "theory" else f"a run at $N={trajectory.attrs.get('n_inputs')}$"
    with contextlib.suppress(InvalidInput):  # raised for a trajectory without its problem
        which = f"{named(problem_of(trajectory).rule.settings)}; {which}"
    return _Scene(run["alpha"].values, run["eps_g"].where(resolved_times(run)).values, normalized_overlaps(run).values, which)


def _frames(figure: Figure, axes: tuple[Axes, Axes], scene: _Scene, frames: list[int]) -> Iterator[np.ndarray]:
    """Yield the pixels (height, width, 3) of `frames`: what stays is drawn once, and what moves over it."""
    left, right = axes
    alpha, eps_g, cosines, title = scene
    figure.set_dpi(_DPI)
    figure.suptitle(textwrap.fill(title, 110), fontsize=9)
    left.loglog(alpha, eps_g, color=COLOURS[0])
    left.set_xlim(alpha[0], alpha[-1])  # also where eps_g is no longer resolved and not drawn
    left.set(xlabel=r"time $\alpha$ = steps / $N$", ylabel=r"generalisation error $\epsilon_g$")
    lowest = left.get_ylim()[0]
    # It is whole at both ends, where half of it lies outside the axes, and at their lower edge where eps_g is below.
    (point,) = left.plot([], [], "o", color=COLOURS[1], markersize=8, animated=True, clip_on=False, zorder=5)
    clock = left.set_title(r"$\alpha=0$", loc="left", fontsize=10)
    clock.set_animated(True)
    image = right.imshow(cosines[0], cmap="RdBu_r", vmin=-1.0, vmax=1.0, aspect="auto", animated=True)
    for axis, size in zip((right.yaxis, right.xaxis), cosines.shape[1:], strict=True):
        if size <= _MOST_TICKS:
            axis.set_ticks(range(size))
        else:
            axis.set_major_locator(MaxNLocator(integer=True))
    right.set(xlabel="teacher unit $m$", ylabel="student unit $k$")
    figure.colorbar(image, ax=right, label=r"$R_{km}/\sqrt{Q_{kk}T_{mm}}$")
    canvas: Any = FigureCanvasAgg(figure)  # whose methods have no types
    canvas.draw()
    figure.set_layout_engine("none")  # laid out once
    background = canvas.copy_from_bbox(figure.bbox)
    for frame in frames:
        canvas.restore_region(background)
        image.set_data(cosines[frame])
        point.set_data([alpha[frame]], [np.nan_to_num(eps_g[frame], nan=lowest)])
        clock.set_text(rf"$\alpha$ = {_time(alpha[frame])}")
        moving = ((image, right), *((spine, right) for spine in right.spines.values()), (point, left), (clock, left))
        for artist, ax in moving:
            ax.draw_artist(artist)
        yield np.array(canvas.buffer_rgba())[..., :3]


def _time(alpha: float) -> str:
    """Return a time with three digits, and without an exponent where it is no longer."""
    return f"{alpha:.3g}" if alpha < 1e3 or alpha >= 1e7 else f"{float(f'{alpha:.3g}'):.0f}"


def frame_times(alpha: FloatArray, n_frames: int) -> list[int]:
    """Return the indices of the output times nearest in ln alpha to `n_frames` even steps from the first to the last."""
    wanted = np.linspace(np.log(alpha[0]), np.log(alpha[-1]), n_frames)
    return [int(np.abs(np.log(alpha) - time).argmin()) for time in wanted]
