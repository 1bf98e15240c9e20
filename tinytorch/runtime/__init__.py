"""Step runners: run a training step in one process, in several, or as a captured CUDA graph."""
