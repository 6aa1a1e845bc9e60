"""Where memory goes between the uses of it."""
