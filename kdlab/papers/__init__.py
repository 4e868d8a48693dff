"""A folder for each paper: its method, networks of its own, recipes at every size, study and pictures."""
