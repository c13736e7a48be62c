"""Fixed points of the ODEs, their linear stability, and how long runs stay near unstable ones."""
