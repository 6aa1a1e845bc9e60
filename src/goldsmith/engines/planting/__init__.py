"""What attacks are made of: strings drawn from two disjoint pools, edits of records, and where to plant."""
