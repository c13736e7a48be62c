"""Noise at order 1/N around a solution of the ODEs, and what it makes runs show."""
