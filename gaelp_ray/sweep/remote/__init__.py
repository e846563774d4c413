"""A sweep's folder in S3: a local working copy, what is carried to and fro, and who may run it."""
