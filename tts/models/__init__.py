"""Voice models: torch code and the readers of their files."""
