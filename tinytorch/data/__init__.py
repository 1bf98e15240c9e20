"""Datasets: what is read from disk, downloaded or reconstructed."""
