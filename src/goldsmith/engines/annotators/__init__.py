"""Statistics of annotators: pure functions on integer-coded votes."""
