"""The tasks of the service, without HTTP. Requests and results are frozen, picklable and hold no tensors."""
