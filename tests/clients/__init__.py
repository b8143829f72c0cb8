"""Other clients than the one the tests are written with. `make test-clients` installs them and runs these."""
