"""Text without dependencies: timestamps, escapes, masking of secrets."""
