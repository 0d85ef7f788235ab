"""What the tests of the labs look at: one module per lab."""
