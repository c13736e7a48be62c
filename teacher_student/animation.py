"""A film of learning: eps_g with a moving point beside the student-teacher overlap matrix as it specialises."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.artist import Artist

from teacher_student.arrays import FloatArray
from teacher_student.errors import check_whole, refuse
from teacher_student.figure_style import COLOURS
from teacher_student.files import check_path, check_writable, replacing
from teacher_student.trajectory import normalized_overlaps, resolved_times
from teacher_student.trajectory_form import as_trajectory

_FRAMES_PER_SECOND = 12
_DPI = 100


def animate(trajectory: xr.Dataset, path: str | Path, n_frames: int = 60) -> None:
    """Write a GIF of `trajectory` with `n_frames` frames, evenly spaced in ln alpha.

    On the left eps_g against alpha, on the right the cosines R_km / sqrt(Q_kk T_mm), teacher units as columns. Of a simulation
    it shows the first replica, because replicas specialise differently and their mean is no network's state.

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
    run = trajectory.isel(replica=0) if "replica" in trajectory.dims else trajectory
    run = run.isel(alpha=run["alpha"].values > 0)
    if run.sizes["alpha"] < 2:
        refuse("alpha", f"{run.sizes['alpha']} output time(s) above 0", "at least 2")
    alpha, eps_g, cosines = run["alpha"].values, run["eps_g"].where(resolved_times(run)).values, normalized_overlaps(run).values
    frames = frame_times(alpha, n_frames)

    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.2), width_ratios=(3, 2), layout="constrained")
    left.loglog(alpha, eps_g, color=COLOURS[0])
    left.set_xlim(alpha[0], alpha[-1])  # also where eps_g is no longer resolved and not drawn
    (point,) = left.plot(alpha[:1], eps_g[:1], "o", color=COLOURS[1], markersize=8)
    left.set(xlabel=r"time $\alpha$ = steps / $N$", ylabel=r"generalisation error $\epsilon_g$")
    image = right.imshow(cosines[0], cmap="RdBu_r", vmin=-1.0, vmax=1.0, aspect="auto")
    K, M = cosines.shape[1:]
    right.set_xticks(range(M), [str(m) for m in range(M)])
    right.set_yticks(range(K), [str(k) for k in range(K)])
    right.set(xlabel="teacher unit $m$", ylabel="student unit $k$")
    figure.colorbar(image, ax=right, label=r"$R_{km}/\sqrt{Q_{kk}T_{mm}}$")

    def show(frame: int) -> Iterable[Artist]:
        point.set_data(alpha[frame : frame + 1], eps_g[frame : frame + 1])
        image.set_data(cosines[frame])
        return point, image

    try:
        # Pillow knows the format from the suffix, which the temporary name of `replacing` does not have.
        with tempfile.TemporaryDirectory() as folder, replacing(path) as temporary:
            film = FuncAnimation(figure, show, frames=frames, blit=False, cache_frame_data=False)
            film.save(Path(folder) / "film.gif", writer=PillowWriter(fps=_FRAMES_PER_SECOND), dpi=_DPI)
            shutil.copyfile(Path(folder) / "film.gif", temporary)
    finally:
        plt.close(figure)


def frame_times(alpha: FloatArray, n_frames: int) -> list[int]:
    """Return the indices of the output times nearest in ln alpha to `n_frames` even steps from the first to the last."""
    wanted = np.linspace(np.log(alpha[0]), np.log(alpha[-1]), n_frames)
    return [int(np.abs(np.log(alpha) - time).argmin()) for time in wanted]
