"""Level 4: what would spoil a model, one detector a file. The folder is the registry."""
