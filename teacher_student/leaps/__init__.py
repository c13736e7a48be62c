"""The leap: many SGD steps at once for large N, with the drift and the noise of the theory."""
