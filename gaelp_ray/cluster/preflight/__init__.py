"""Everything that can be known of a cluster before it starts: a module for each subject, all asked by check.py."""
