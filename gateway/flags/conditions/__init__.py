"""The conditions of targeting rules: comparators, and how an attribute is read for them."""
