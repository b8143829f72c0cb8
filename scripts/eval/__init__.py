"""Evaluations beside scripts written apart, which follow the official code by transformers alone."""
