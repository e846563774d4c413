"""Ray Tune sweeps: file -> plan -> search -> final stage -> published winner. Start at pipeline.run_sweep."""
