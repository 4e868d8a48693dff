"""Pictures: plots, widgets, source listings."""
