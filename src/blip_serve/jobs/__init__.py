"""Work over many inputs: bulk runs, from a source through an operator to a sink. Knows no HTTP and no terminal."""
