"""Which trial runs next, which one ends early, and which one goes on from another."""
