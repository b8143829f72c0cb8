"""Scheduling on one device: queue, batch, the device thread. Knows no tensors and no model."""
