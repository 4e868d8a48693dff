"""Evidence: accuracy, intervals, cost."""
