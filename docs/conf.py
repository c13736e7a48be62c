"""Sphinx configuration; the documentation needs Sphinx alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import teacher_student

project = "teacher_student"
author = "The teacher_student maintainers"
copyright = "2026, The teacher_student maintainers"
version = release = teacher_student.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build"]
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings state types and shapes
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_ivar = True

html_theme = "alabaster"
html_theme_options = {"description": "Online learning at any N, and its theory", "page_width": "1000px"}
html_show_sourcelink = False
