"""One module per committed study: what it runs, and the verdicts computed from it."""
