"""The Docker engine: images, containers, events, registries."""
