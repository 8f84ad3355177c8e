"""Rows of work, a device and a runtime -> seconds, joules and how sure they are. Graphs are never seen here."""
