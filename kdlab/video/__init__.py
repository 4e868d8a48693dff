"""Video files: headers, times and frames, and what a compressed stream holds."""
