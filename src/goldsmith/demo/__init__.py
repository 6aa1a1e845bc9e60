"""The demonstration: three sources, one of them poisoned, through the whole circle in the nano world."""
