"""Work over many inputs: bulk runs, from a source through an operator to a sink, and evaluations. Knows no HTTP."""
