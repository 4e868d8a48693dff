"""From a recipe to a finished run: the training loop, what it is fed, and the runs it leaves."""
