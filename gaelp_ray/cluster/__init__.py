"""From one machine to many: what Ray's cluster launcher is given, and what can be known before it starts."""
