"""Pictures: plots, widgets, source listings, and the exercises of notebooks."""
