"""The main port and the streams of one process."""
