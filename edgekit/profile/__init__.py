"""What a program costs: instructions, memory, time and energy, each figure with its grade and where it comes from."""
