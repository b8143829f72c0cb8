"""Measures bulk runs over data sets: how well they filter, and how fast they are."""
