"""How many files and hand-overs a request crosses, traced in a running service."""
