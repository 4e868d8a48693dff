"""From a recipe to a finished run: recipe, preparation, rehearsal, loop, and the runs that it leaves."""
