"""Whether checkpoints, machine and configuration are as they should be. Knows no HTTP and no terminal."""
