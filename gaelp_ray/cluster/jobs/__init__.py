"""A sweep as a job on a cluster's head: sent there from here, followed from here, its results brought back."""
