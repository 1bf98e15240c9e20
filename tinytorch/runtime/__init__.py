"""How a training step is run: in one process, in several, or as a captured CUDA graph."""
