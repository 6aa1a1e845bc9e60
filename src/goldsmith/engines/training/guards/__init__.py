"""What must hold before and while a model learns, or the run stops."""
