"""Models of others: their files read into this package's classes."""
