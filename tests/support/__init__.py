"""What tests share: checkpoints in the hub's format, the reference, pictures, a running service."""
