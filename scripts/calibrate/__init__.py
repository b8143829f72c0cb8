"""The proof that `blip-serve calibrate` makes a probability that holds."""
