"""Grading: points for exercises, in a process that a notebook's code cannot influence."""
