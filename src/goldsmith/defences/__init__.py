"""Level 4: guards mounted in examination and serving, one file each. The folder is the registry."""
