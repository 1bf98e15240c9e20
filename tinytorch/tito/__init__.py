"""Course tools, the command `tito`: weave lessons into notebooks, test and export them."""
