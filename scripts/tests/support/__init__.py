"""What several test modules use, one module for each noun."""
