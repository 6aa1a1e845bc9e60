"""Level 4: row formats, one file each. The folder is the registry."""
