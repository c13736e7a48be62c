"""The deep commands: teacher-student deep presets | train | importance | ablate | widths | latent | cost."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teacher_student.errors import Diverged, InvalidInput, refuse
from teacher_student.files import check_writable, output_folder, replacing, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from teacher_student.deep.data import Data
    from teacher_student.deep.estimators import ModeMLPClassifier
    from teacher_student.deep.problem_file import DeepProblem

OK, DIVERGED, INTERRUPTED = 0, 3, 130
_DEFAULT = "digits"


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands below `teacher-student deep`."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("presets", help="list the presets of the deep commands")
    command.set_defaults(run=_guarded(_presets))

    problem_help = f"a TOML file or a preset's name (default: {_DEFAULT})"
    command = commands.add_parser("train", help="train a network and save it")
    command.add_argument("problem", metavar="PROBLEM", nargs="?", default=_DEFAULT, help=problem_help)
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="model (default: NAME.npz)")
    _add_data_options(command)
    command.set_defaults(run=_guarded(_train))

    analyses: dict[str, tuple[Callable[[argparse.Namespace], int], str, bool]] = {
        "importance": (_importance, "importance tau of the modes, with power laws fitted", True),
        "ablate": (_ablate, "test accuracy when modes are removed", True),
        "latent": (_latent, "dimension and class separation of each layer, modes against standard training", False),
        "widths": (_widths, "least number of modes against width", False),
        "cost": (_cost, "accuracy against parameters, operations and seconds", False),
    }
    for name, (run, help_text, takes_model) in analyses.items():
        command = commands.add_parser(name, help=help_text)
        help_here = problem_help.replace("a TOML", "a saved model, a TOML") if takes_model else problem_help
        command.add_argument("problem", metavar="PROBLEM", nargs="?", default=_DEFAULT, help=help_here)
        command.add_argument("-o", "--output", type=Path, metavar="FOLDER", default=Path("deep"), help="(default: %(default)s)")
        if takes_model:
            command.add_argument(
                "--matrix", type=int, metavar="L", help="weight matrix, 0 for the input's (default: the problem's)"
            )
        _add_data_options(command)
        command.set_defaults(run=_guarded(run))


def _add_data_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", metavar="NAME", help="data set (default: the problem's)")
    command.add_argument("--folder", type=Path, metavar="FOLDER", help="where the files of the data set are")
    command.add_argument("--seed", type=int, metavar="S", help="seed of the initial weights and batches (default: the problem's)")


def _guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Return `run` with a missing scikit-learn refused before any work, and with training that diverges told in one line."""

    def checked(options: argparse.Namespace) -> int:
        try:
            import teacher_student.deep.estimators  # noqa: F401
        except ImportError as error:
            raise InvalidInput(str(error)) from None
        try:
            return run(options)
        except Diverged as error:
            print(f"teacher-student: {error}", file=sys.stderr)
            return DIVERGED

    return checked


def _presets(options: argparse.Namespace) -> int:
    from teacher_student.deep.problem_file import deep_presets

    found = deep_presets()
    width = max(map(len, found))
    for name, description in found.items():
        print(f"{name:{width}}  {description}")
    return OK


def _train(options: argparse.Namespace) -> int:
    from teacher_student.deep.model_file import save_model

    problem = _problem(options)
    path = options.output or Path(f"{problem.name}.npz")
    if path.is_dir():
        refuse("output", str(path), "a file, not a folder")
    check_writable(path.parent, path)
    data = _data(problem)
    model = _trained(problem, data)
    save_model(model, path, {"data": problem.data})
    print(f"test accuracy {model.score(data.X_test, data.y_test):.4f} after {model.n_iter_} epochs")
    print(path)
    return _interrupted() if model.interrupted_ else OK


def _importance(options: argparse.Namespace) -> int:
    from teacher_student.deep import figures
    from teacher_student.deep.fits import fit_power_laws
    from teacher_student.deep.importance import mode_importance

    problem, model, _ = _problem_and_model(options)
    matrix = _matrix(options, problem, model)
    tau = mode_importance(model.layers_[matrix])
    laws = fit_power_laws(tau)
    print(f"matrix {matrix}, {len(tau)} modes: {laws.verdict}")
    print(f"tau from {laws.tau[0]:.3f} down to {laws.tau[-1]:.3f}, a factor of {laws.tau[0] / laws.tau[-1]:.2f}")
    for fit in (laws.one, laws.two, laws.exponential):
        values = ", ".join(f"{name} {value:.4g} +- {fit.errors[name]:.2g}" for name, value in fit.parameters.items())
        print(f"{fit.name}: {values} (BIC {fit.bic:.1f})")
    numbers = {"matrix": matrix, "tau": laws.tau.tolist(), "verdict": laws.verdict}
    numbers |= {fit.name: {"parameters": fit.parameters, "errors": fit.errors} for fit in (laws.one, laws.two, laws.exponential)}
    return _write(options.output, "importance", figures.importance(laws)[0], numbers)


def _ablate(options: argparse.Namespace) -> int:
    import numpy as np

    from teacher_student.deep import figures
    from teacher_student.deep.importance import ablate

    problem, model, data = _problem_and_model(options)
    matrix = _matrix(options, problem, model)
    result = ablate(model, data.X_test, data.y_test, matrix, np.random.default_rng(0))
    half = len(result.removed) // 2
    for order, accuracy in result.accuracy.items():
        print(f"{order:10s} all modes {accuracy[0]:.3f}, {half} removed {accuracy[half]:.3f}, none left {accuracy[-1]:.3f}")
    numbers = {"matrix": matrix, "accuracy": {order: values.tolist() for order, values in result.accuracy.items()}}
    return _write(options.output, "ablation", figures.ablation(result)[0], numbers)


def _latent(options: argparse.Namespace) -> int:
    from teacher_student.deep import figures
    from teacher_student.deep.checks import check_whole
    from teacher_student.deep.latent import latent_geometry

    problem = _problem(options)
    seeds, k = problem.latent.get("seeds", 3), problem.latent.get("k", 2)
    check_whole("latent.seeds", seeds)
    folder = output_folder(options.output)
    data = _data(problem)
    decomposition = problem.model.get("decomposition", "modes")
    first = problem.model.get("random_state") or 0
    results: dict[str, list[Any]] = {}
    for name, kind in (("modes", "modes" if decomposition == "none" else decomposition), ("standard training", "none")):
        for seed in range(first, first + seeds):
            model = _trained(problem, data, decomposition=kind, random_state=seed)
            _stop_if_interrupted(model)
            results.setdefault(name, []).append(latent_geometry(model, data.X_test, data.y_test, k))
    for name, runs in results.items():
        for quantity in ("dimension", "angle", "permuted_angle"):
            values = [getattr(run, quantity) for run in runs]
            print(
                f"{name}: {quantity} by layer " + ", ".join(f"{sum(column) / seeds:.2f}" for column in zip(*values, strict=True))
            )
    numbers = {
        name: [{key: value.tolist() for key, value in asdict(run).items()} for run in runs] for name, runs in results.items()
    }
    _write(folder, "dimension", figures.dimension(results)[0], numbers)
    return _write(folder, "separation", figures.separation(results)[0], numbers)


def _widths(options: argparse.Namespace) -> int:
    import numpy as np

    from teacher_student.deep import figures
    from teacher_student.deep.fits import fit_width_laws, width_verdict
    from teacher_student.deep.widths import least_modes

    problem = _problem(options)
    for key in ("widths", "n_modes"):
        if not isinstance(problem.widths.get(key), list):
            refuse(f"widths.{key}", problem.widths.get(key), "a list of whole numbers")
    folder = output_folder(options.output)
    dropped = ("hidden_layer_sizes", "n_modes", "random_state")
    settings = {key: value for key, value in problem.model.items() if key not in dropped}
    result = least_modes(_data(problem), **problem.widths, **settings)
    for i, N in enumerate(result.widths):
        print(f"N = {N}: standard {result.standard[i].mean():.4f}, least P {result.mean[i]:.2f} +- {result.error[i]:.2f}")
    fits = []
    if len(result.widths) >= 4 and np.isfinite(result.mean).all() and result.error[0] > 0:
        fits = fit_width_laws(result.widths, result.mean, result.error)
        for fit in fits:
            values = ", ".join(f"{name} = {value:.3g} +- {fit.errors[name]:.2g}" for name, value in fit.parameters.items())
            print(f"{fit.name}: {values} (BIC {fit.bic:.1f})")
        print(width_verdict(fits))
    else:
        print("no law fitted: it needs four widths or more at which the modes reach that accuracy")
    _write(folder, "accuracy", figures.accuracy_against_modes(result)[0], {"accuracy": result.accuracy.tolist()})
    numbers = {"widths": result.widths.tolist(), "n_modes": result.n_modes.tolist(), "least": result.least.tolist()}
    numbers |= {"standard": result.standard.tolist(), "laws": {fit.name: {"BIC": fit.bic, **fit.parameters} for fit in fits}}
    return _write(folder, "least-modes", figures.least_modes(result, fits)[0], numbers)


def _cost(options: argparse.Namespace) -> int:
    from teacher_student.deep import figures
    from teacher_student.deep.cost import compare_costs

    problem = _problem(options)
    folder = output_folder(options.output)
    costs = compare_costs(_data(problem), problem.cost.get("n_modes", [2, 4, 8, 20]), problem.model)
    print("    P  parameters  operations  CPU [s]  clock [s]  test accuracy")
    for cost in costs:
        label = "W" if cost.n_modes == 0 else str(cost.n_modes)
        times = f"{cost.cpu_seconds:7.2f}  {cost.seconds:9.2f}"
        print(f"{label:>5s}  {cost.parameters:10d}  {cost.operations:10.3g}  {times}  {cost.accuracy:13.4f}")
    return _write(folder, "cost", figures.training_cost(costs)[0], [asdict(cost) for cost in costs])


def _problem(options: argparse.Namespace) -> DeepProblem:
    """Return the problem with what the command line replaces."""
    from teacher_student.deep.problem_file import load_deep_problem

    problem = load_deep_problem(options.problem)
    data = {"name": "digits", **problem.data}
    if options.data is not None:
        data["name"] = options.data
    if options.folder is not None:
        data["folder"] = str(options.folder)
    model = dict(problem.model) if options.seed is None else {**problem.model, "random_state": options.seed}
    return replace(problem, data=data, model=model)


def _data(problem: DeepProblem) -> Data:
    from teacher_student.deep.data import load_data

    return load_data(**problem.data)


def _trained(problem: DeepProblem, data: Data, **changes: Any) -> ModeMLPClassifier:
    from teacher_student.deep.estimators import ModeMLPClassifier

    model = ModeMLPClassifier(**{**problem.model, **changes, "verbose": True})
    return model.fit(data.X_train, data.y_train)


def _problem_and_model(options: argparse.Namespace) -> tuple[DeepProblem, ModeMLPClassifier, Data]:
    """Return a saved classifier with its data, or train one as a problem says."""
    from teacher_student.deep.estimators import ModeMLPClassifier
    from teacher_student.deep.model_file import load_model
    from teacher_student.deep.problem_file import DeepProblem

    output_folder(options.output)
    if not options.problem.endswith(".npz"):
        problem = _problem(options)
        data = _data(problem)
        model = _trained(problem, data)
        _stop_if_interrupted(model)
        return problem, model, data
    loaded, notes = load_model(options.problem)
    if not isinstance(loaded, ModeMLPClassifier):
        refuse("model", options.problem, "a classifier")
    settings = notes.get("data") if isinstance(notes, dict) else None
    settings = dict(settings) if isinstance(settings, dict) else {}
    for key, value in (("name", options.data), ("folder", options.folder and str(options.folder))):
        if value is not None:
            settings[key] = value
    problem = DeepProblem(name=Path(options.problem).stem, description="", data=settings)
    try:
        data = _data(problem)
    except TypeError:
        refuse("model", options.problem, "notes on its data that load_data understands")
    if data.X_test.shape[1] != loaded.n_features_in_:
        refuse("data", settings.get("name", "digits"), f"inputs of {loaded.n_features_in_} features, as the model has")
    return problem, loaded, data


def _matrix(options: argparse.Namespace, problem: DeepProblem, model: ModeMLPClassifier) -> int:
    """Return which weight matrix to look at: the command line's, the problem's, or the middle one."""
    n_matrices = len(model.layers_)
    chosen = options.matrix if options.matrix is not None else problem.importance.get("matrix", n_matrices // 2)
    if isinstance(chosen, bool) or not isinstance(chosen, int) or not 0 <= chosen < n_matrices:
        refuse("matrix", chosen, f"one of the weight matrices 0 to {n_matrices - 1}")
    return chosen


def _stop_if_interrupted(model: ModeMLPClassifier) -> None:
    if model.interrupted_:
        raise KeyboardInterrupt


def _interrupted() -> int:
    print("teacher-student: training interrupted; the best network so far is kept", file=sys.stderr)
    return INTERRUPTED


def _write(folder: Path, name: str, figure: Figure, numbers: object) -> int:
    """Write NAME.png and NAME.json into `folder`."""
    save_figure(figure, folder / f"{name}.png")
    with replacing(folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    print(f"{folder / name}.png\n{folder / name}.json")
    return OK
