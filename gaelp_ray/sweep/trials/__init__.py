"""Trials in Ray workers, and what they have come to."""
