"""The scoreboard, `make scoreboard`: a table of what the service must withstand, and of what was measured."""
