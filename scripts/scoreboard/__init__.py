"""The scoreboard: `make scoreboard`. What the service is asked to withstand beside what was seen, in one table."""
