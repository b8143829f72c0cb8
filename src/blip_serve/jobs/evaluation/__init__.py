"""Evaluations: questions of a data set put to a model, and the field's figures of its answers."""
