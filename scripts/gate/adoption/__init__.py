"""Copy the gate into another repository, and update it there."""
