"""What somebody sees who waits for a build in a terminal."""
