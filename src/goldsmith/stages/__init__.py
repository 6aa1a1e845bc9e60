"""Level 5: one verb, one file, one function; siblings that never import each other."""
