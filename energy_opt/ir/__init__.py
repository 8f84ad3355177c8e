"""What a graph is: its dims, shapes and work rules, and the rows of work that are read from it."""
