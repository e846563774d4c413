"""Who wins: validation of what was ended early, the final stage, and the decision."""
