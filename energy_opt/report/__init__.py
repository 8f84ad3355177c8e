"""Answers as people and programs read them. Every report takes the JSON dict of an analysis and nothing else."""
