"""Level 1: frozen values and the error tree. Standard library and pydantic only; import from the submodules."""
