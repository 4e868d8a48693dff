"""Clips: catalogues, decoding, views, and the batches that networks read."""
