"""The suite: how its tests are split into shards, run, and read."""
