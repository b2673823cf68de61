"""The declaration of every option."""
