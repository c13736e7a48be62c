"""Claim: the least number of modes grows like the logarithm of the width and then stays constant.

Few modes are enough: about 5 reach 0.95 of standard accuracy at every width from 8 to 256. The growth did not hold. The least
number falls slightly, from 5.6 at N = 8 to 4.7 at N = 64 and beyond (standard errors 0.3); power and logarithm with a
negative slope are not told apart. The digits have ten classes and an input dimension of about 13, which may be all the modes
have to resolve.
"""

import matplotlib.pyplot as plt

import teacher_student as ts

SEED = 0  # of the first networks
WIDTHS, MODES, FRACTION, SEEDS = [8, 16, 32, 64, 128, 256], [1, 2, 3, 4, 5, 6, 8, 10, 14], 0.95, 4


data = ts.deep.load_data("digits")
result = ts.deep.least_modes(data, WIDTHS, MODES, fraction=FRACTION, seeds=SEEDS, first_seed=SEED, max_iter=20)
fits = ts.deep.fit_width_laws(result.widths, result.mean, result.error)
for N, standard, least, error in zip(WIDTHS, result.standard.mean(axis=1), result.mean, result.error, strict=True):
    print(f"N = {N}: standard accuracy {standard:.3f}, least P {least:.2f} +- {error:.2f}")
for fit in fits:
    print(f"{fit.name}: {fit.parameters} (BIC {fit.bic:.1f})")
print(ts.deep.width_verdict(fits))
fig, axes = plt.subplots(2, 1, figsize=(6.5, 7), layout="constrained")
ts.deep.figures.accuracy_against_modes(result, ax=axes[0])
ts.deep.figures.least_modes(result, fits, ax=axes[1])
fig.savefig("simulations_deep_least_modes.png", dpi=200)
