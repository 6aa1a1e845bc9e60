"""Level 4: rewards judge sampled answers, for training to follow; one file each. The folder is the registry."""
