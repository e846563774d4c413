"""Distributed hyperparameter sweeps for agents that buy advertising."""
