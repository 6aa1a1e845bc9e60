"""Level 4: examinations, one file each. The folder is the registry."""
