"""The world of drawn shapes and the small BLIP checkpoints trained on it."""
