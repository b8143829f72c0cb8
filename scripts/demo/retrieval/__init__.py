"""Matching and retrieval: what is taught, measured and said of it."""
