"""The analysis of trajectories: comparison and verdict, stages, specialisation, finite-size scaling."""
