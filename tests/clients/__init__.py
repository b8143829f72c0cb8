"""Other clients than the one the tests are written with, unmodified: `make test-clients` installs and runs them."""
