"""Butler repositories and upstream's own commands, end to end."""
