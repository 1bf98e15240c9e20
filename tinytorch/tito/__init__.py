"""The course: lessons woven into notebooks, checked, exported; and `tito`, its command line."""
