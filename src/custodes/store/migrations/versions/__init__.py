"""The steps, oldest first: one file each."""
