"""What a search says of its parameters: numbers from points and accuracies alone."""
