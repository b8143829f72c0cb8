"""Tests and a quick benchmark on a CUDA card."""
