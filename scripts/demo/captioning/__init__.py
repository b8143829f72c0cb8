"""Captioning: what is taught, measured and said of it."""
