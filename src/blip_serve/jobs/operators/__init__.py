"""What a bulk run does with each row, one operator a file."""
