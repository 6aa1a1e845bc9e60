"""Files to rows: containers, strict JSON, row formats, and back."""
