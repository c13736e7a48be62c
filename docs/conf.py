"""Sphinx configuration. The gallery runs the studies of odes/ and simulations/; none of it needs a network."""

import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

import matplotlib  # noqa: E402

import teacher_student  # noqa: E402

matplotlib.use("agg")

project = "teacher_student"
author = "The teacher_student maintainers"
copyright = "2026, The teacher_student maintainers"
version = release = teacher_student.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build", "_studies"]
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings state types and shapes
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_ivar = True

html_theme = "alabaster"
html_theme_options = {"description": "Online learning at any N, and its theory", "page_width": "1000px"}
html_show_sourcelink = False


STUDIES = DOCS / "_studies"
SECTIONS = {"odes": "Theory alone", "simulations": "Simulation against theory, and deep networks on data"}
WORDS = {"Relu": "ReLU", " n": " N"}


def copy_studies() -> None:
    """Copy the studies to where the gallery finds them, each with its name as the title that the gallery asks for."""
    shutil.rmtree(STUDIES, ignore_errors=True)
    for section, title in SECTIONS.items():
        (STUDIES / section).mkdir(parents=True)
        (STUDIES / section / "README.rst").write_text(f"{title}\n{'=' * len(title)}\n")
        for script in sorted((DOCS.parent / section).glob("*.py")):
            name = script.stem.replace("_", " ").capitalize()
            for before, after in WORDS.items():
                name = name.removesuffix(before) + after if name.endswith(before) else name.replace(before + " ", after + " ")
            text = script.read_text(encoding="utf-8").replace("description=__doc__.splitlines()[0]", "")  # there is no __doc__
            text = text.replace('"""', f'"""{name}\n{"=" * len(name)}\n\n', 1)
            (STUDIES / section / script.name).write_text(text, encoding="utf-8")


class Arguments:
    """The arguments a study is run with: its own figure goes out of the way, the gallery takes one for itself."""

    def __call__(self, gallery_conf, script_vars) -> list[str]:
        return ["--output", str(DOCS / "_build" / "studies")]

    def __repr__(self) -> str:
        return "Arguments"


copy_studies()
sphinx_gallery_conf = {
    "examples_dirs": [str(STUDIES / section) for section in SECTIONS],
    "gallery_dirs": [f"studies/{section}" for section in SECTIONS],
    "filename_pattern": r"\.py$",
    "ignore_pattern": "^$",
    "within_subsection_order": "FileNameSortKey",
    "reset_argv": Arguments(),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "remove_config_comments": True,
    "plot_gallery": True,
    "parallel": 2,
}
