"""Reading and writing files: checkpoints and atomic writes."""
