"""A stranger's package: squares adrift, seen as frame differences, by a network and a loss of its own."""
