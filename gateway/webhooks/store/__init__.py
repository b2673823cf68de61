"""The tables of the outbox, as functions of a connection inside a transaction."""
