"""The verdict: what was found, what green means, how it is shown, what may be published."""
