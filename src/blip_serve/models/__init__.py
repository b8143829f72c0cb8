"""BLIP in PyTorch, behind the `Model` protocol. The only package that imports torch; knows no HTTP."""
