"""The benchmark: `make bench`. Two sides of a row alternate in one run; medians, and ratios within that run."""
