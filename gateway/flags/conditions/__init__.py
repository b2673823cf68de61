"""The conditions of targeting rules: one function per comparator, made from a user condition."""
