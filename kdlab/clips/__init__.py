"""Clips as trainings read them: records, views, windows, and the batches that networks read."""
