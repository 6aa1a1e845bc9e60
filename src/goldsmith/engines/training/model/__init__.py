"""The model being tuned: read, adapted, put before a batch, written."""
