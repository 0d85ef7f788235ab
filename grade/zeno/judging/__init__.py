"""Building what is graded, judging it, reporting."""
