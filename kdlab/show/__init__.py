"""Pictures: plots, the explorer, source listings, and the exercises of notebooks."""
