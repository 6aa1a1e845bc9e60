"""Level 8: doors over HTTP."""
