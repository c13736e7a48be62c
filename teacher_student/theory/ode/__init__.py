"""The ODEs integrated: steps, the march along a solution, and trajectories."""
