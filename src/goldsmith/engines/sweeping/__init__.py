"""Trying settings: which candidates, how long each, which of them nothing beats."""
