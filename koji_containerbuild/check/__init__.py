"""Is this builder host ready? Asks everything that a build needs, and changes nothing."""
