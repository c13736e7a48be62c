"""Sphinx configuration. The gallery runs the studies of odes/ and simulations/; none of it needs a network."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import matplotlib  # noqa: E402
from gallery import SECTIONS, STUDIES, copy_studies  # noqa: E402

import teacher_student  # noqa: E402

matplotlib.use("agg")
# The reference shows public names as users write them: ts.integrate.
sys.modules |= {"ts": teacher_student, "ts.plots": teacher_student.plots, "ts.networks": teacher_student.networks}

project = "teacher_student"
author = "The teacher_student maintainers"
copyright = "2026, The teacher_student maintainers"
version = release = teacher_student.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_studies"]
nitpicky = False
numfig = True  # equations are numbered by page: (2.5)

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings state types and shapes
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_ivar = True

html_theme = "alabaster"
html_theme_options = {
    "description": "Online learning at any N, and its theory",
    "page_width": "1200px",
    "body_max_width": "960px",
}
html_static_path = ["_static"]
html_show_sourcelink = False

copy_studies()
sphinx_gallery_conf = {
    "examples_dirs": [str(STUDIES / section) for section in SECTIONS],
    "gallery_dirs": [f"studies/{section}" for section in SECTIONS],
    "filename_pattern": r"\.py$",
    "ignore_pattern": "^$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "write_computation_times": False,  # its page asks for a network
    "remove_config_comments": True,
    "plot_gallery": True,
    "parallel": 2,
}
