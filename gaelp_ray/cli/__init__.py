"""The command line: commands, exit codes, and what a person sees."""
