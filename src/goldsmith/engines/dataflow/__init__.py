"""Corpora larger than memory: a file becomes parts of columns, mapped anywhere, read back without holding them."""
