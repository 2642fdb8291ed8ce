"""What an answer is: numbers in every spelling, and whether two answers are the same."""
