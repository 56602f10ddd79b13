"""Wire formats of existing clients. Pure functions and state machines; nothing here does I/O."""
