"""The commands. They import heavy modules inside functions, so that ``kdlab --help`` answers at once."""
