"""Level 4: training methods, one file each, loop in view. The folder is the registry."""
