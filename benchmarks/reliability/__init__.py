"""Faults injected into real sweeps, and what was lost by them: `python benchmarks/reliability`, `make reliability`.

Each fault starts a sweep of its own through the command line, waits for something in its journal, does its harm,
resumes if there is something to resume, and compares what is there with an uninterrupted sweep of the same file. The
same faults are the tests in tests/sweep/faults. Read stage (where sweeps run), traces (what they leave), losses (what
is missing), then any of the modules of faults.
"""
