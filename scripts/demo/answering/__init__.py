"""Answering: what is asked, taught, measured and said of it."""
