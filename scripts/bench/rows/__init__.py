"""Groups of rows; each module measures one, by its `run(bench)`."""
