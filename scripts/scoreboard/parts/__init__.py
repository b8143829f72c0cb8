"""Parts of the board; each module proves one thing, by its `run(board)`."""
