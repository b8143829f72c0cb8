"""What is compared. (a): the model card's code. (b), (c): servers of the kind people write. (d): us."""
