"""What a recipe says, and what it means."""
