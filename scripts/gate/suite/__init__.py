"""The suite: how it is split, run and read."""
