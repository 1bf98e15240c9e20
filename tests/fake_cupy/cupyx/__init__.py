"""A fake cupyx: what several processes need of it."""
