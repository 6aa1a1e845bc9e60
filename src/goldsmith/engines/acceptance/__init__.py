"""Vendor acceptance: a contract held against what was delivered."""
