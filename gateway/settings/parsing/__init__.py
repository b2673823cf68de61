"""YAML text and environment variables to values of the schema."""
