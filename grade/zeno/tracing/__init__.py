"""What a kernel tells of its guests' exits, and where two such stories part."""
