"""The cellar: files and who may write them, work in several processes, hashes of sources, numbers in range."""
