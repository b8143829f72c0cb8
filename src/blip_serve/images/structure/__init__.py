"""Reduces an image file to the parts that make the picture: its essence. Decodes no pixels.

A walk goes over the structure of a file in a limited number of steps. The decoder gets only the essence. So metadata
cannot make the decoder fail or take long.
"""
