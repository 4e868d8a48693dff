"""Measures: accuracy and intervals, detection, attention, flatness, darkness, cost."""
