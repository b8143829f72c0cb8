"""Where the rows of a bulk run come from: a file a format."""
