"""Course tools: weave lessons into notebooks, check and export them; `tito` is the command."""
