"""The verdict: what was found, what green means, who reads it."""
