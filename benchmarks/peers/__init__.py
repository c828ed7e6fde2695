"""Other programs that compute the same; each is optional, and a benchmark says when one is absent."""
