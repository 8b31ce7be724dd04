"""What is said of a finished decomposition: pure functions, one file each."""
