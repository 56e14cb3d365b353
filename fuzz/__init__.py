"""Coverage-guided fuzzing of every door through which bytes of others come in: `python -m fuzz pth 600`."""
