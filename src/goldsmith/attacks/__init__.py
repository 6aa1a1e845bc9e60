"""Known attacks, one file each, for trying the checks: they plant into copies, and only for testing."""
