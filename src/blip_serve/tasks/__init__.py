"""What the service does, without HTTP. Arguments and results are frozen, picklable and hold no tensors."""
