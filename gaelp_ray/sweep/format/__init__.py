"""What a sweep file says: its format, its parameters, and the configurations that can be drawn from it."""
