"""Attention over flat sequences of segments, by whatever kernel the device has."""
