"""Level 4: judges compare and rate answers, one file each. The folder is the registry."""
