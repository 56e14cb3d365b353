"""One framework against another, stage by stage, on the same weights and pictures."""
