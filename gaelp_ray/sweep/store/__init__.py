"""What lies in a sweep's folder: the driver's journal, each trial's own record and checkpoints, the decision."""
