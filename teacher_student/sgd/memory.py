"""Whether the memory of this machine holds the runs that are asked for."""

from __future__ import annotations

from teacher_student.errors import refuse
from teacher_student.layout import Sizes
from teacher_student.memory import bytes_of_memory
from teacher_student.problem import Problem

# Bytes of a replica's random generator with its seed, or somewhat less.
_GENERATOR = 1000


def check_memory_of_runs(problem: Problem, N: int, replicas: int, n_times: int, held: int) -> None:
    """Refuse runs that this machine's memory cannot hold: `held` bytes a replica, and its order parameters at all times.

    It is less than what they need, for the runs themselves and what they return; where the system does not tell, none is refused.
    """
    memory = bytes_of_memory()
    if memory is None:
        return
    gigabytes = f"{memory / 2**30:.3g} GiB of memory"
    if held > memory:
        refuse("n_inputs", N, f"at most {N * memory // held} with {gigabytes}; the exact chain has any N: method overlaps")
    sizes = Sizes(problem.initial.n_units, problem.initial.n_modes, problem.initial.n_teacher)
    replica = held + _GENERATOR + 8 * n_times * sizes.n_full
    if replicas * replica > memory:
        refuse("replicas", replicas, f"at most {memory // replica} with {gigabytes}, at this N and so many output times")
