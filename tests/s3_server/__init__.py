"""A stand-in for S3: a bucket in memory behind HTTP, with faults. See server.StandIn."""
