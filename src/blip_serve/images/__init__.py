"""Images on their way in: reference (grammar), fetch (guarded), decode (checked). Knows no HTTP API and no model."""
