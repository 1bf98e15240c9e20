"""Shared parts of the programs in `milestones/` of 1958 to 1998.

program: flags, claims, results and exit code. classifier: training and evaluating on digits.
pictures: plots of digits. timeline: the picture of all milestones.
"""
