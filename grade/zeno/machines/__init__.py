"""Machines that kernels run on: emulators, what they count, their debuggers."""
