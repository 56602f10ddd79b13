"""What is done to finals before a client sees them: numerals, replacements, redaction, search. Pure functions."""
