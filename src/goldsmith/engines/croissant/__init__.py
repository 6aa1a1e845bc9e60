"""Croissant (JSON-LD, with its responsible-AI vocabulary): a data set described for other people's tools."""
