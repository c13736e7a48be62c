"""The limit N -> infinity: Gaussian averages, right-hand side, integration, fluctuations."""
