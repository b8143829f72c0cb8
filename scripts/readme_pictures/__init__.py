"""Draws the README's pictures from the running product."""
