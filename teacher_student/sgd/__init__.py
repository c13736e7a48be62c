"""Finite N: streaming SGD on the weights, and the same process written for the overlaps alone."""
