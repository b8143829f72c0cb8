"""Measures explanations: whether they point at what a word names, whether they are faithful, and what they cost."""
