"""The cellar: files and who may write them, processes and where they run, hashes of sources, numbers in range."""
