"""Ways in that need more than a table of routes: other protocols, whole families of paths."""
