"""Networks that see a view of a clip."""
