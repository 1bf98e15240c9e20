"""Data sets: read from disk, downloaded or reconstructed."""
