"""The gate's copy in another repository."""
