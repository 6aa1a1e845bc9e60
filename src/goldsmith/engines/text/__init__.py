"""Columns and kernels over the text of records: projection, tokens, n-grams, MinHash, hosts, sparse features."""
