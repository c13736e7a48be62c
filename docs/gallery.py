"""What the gallery needs beside sphinx-gallery: copies of the studies that have titles."""

import shutil
from pathlib import Path

DOCS = Path(__file__).resolve().parent
STUDIES = DOCS / "_studies"
# Title of each section, and its studies.
SECTIONS = {
    "odes": ("Theory alone", "odes/*.py"),
    "simulations": ("Simulation against theory", "simulations/*.py"),
    "deep": ("Deep networks on data", "simulations/deep_*.py"),
}
WORDS = {"Relu": "ReLU", " n": " N"}


def copy_studies() -> None:
    """Copy the studies to where the gallery finds them, each with its name as the title that the gallery asks for."""
    shutil.rmtree(STUDIES, ignore_errors=True)
    for section, (title, pattern) in SECTIONS.items():
        (STUDIES / section).mkdir(parents=True)
        (STUDIES / section / "README.rst").write_text(f"{title}\n{'=' * len(title)}\n")
        for script in sorted(DOCS.parent.glob(pattern)):
            if section == "simulations" and script.name.startswith("deep_"):
                continue
            name = script.stem.replace("_", " ").capitalize()
            for before, after in WORDS.items():
                name = name.removesuffix(before) + after if name.endswith(before) else name.replace(before + " ", after + " ")
            text = script.read_text(encoding="utf-8")
            text = text.replace('"""', f'"""{name}\n{"=" * len(name)}\n\n', 1)
            (STUDIES / section / script.name).write_text(text, encoding="utf-8")
