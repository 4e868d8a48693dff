"""The commands. Heavy imports stay inside them, so that ``kdlab --help`` answers at once."""
