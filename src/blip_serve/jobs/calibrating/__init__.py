"""Calibration of a model's ITM scores by labelled pairs: scored by a bulk run, fitted on half, tested on the rest."""
