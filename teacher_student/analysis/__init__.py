"""What trajectories say: comparison of theory and simulation."""
