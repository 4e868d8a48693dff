"""Utilities: atomic files and their ownership, process pools, hashes of sources, checks of numbers."""
