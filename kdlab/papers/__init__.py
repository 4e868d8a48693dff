"""A folder for each paper: its method, its networks, recipes at every size, study and pictures."""
