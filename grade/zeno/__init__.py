"""Zeno's grading harness: machines, evidence, verdicts."""
