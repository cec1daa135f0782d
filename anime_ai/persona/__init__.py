"""Characters: cards and what of them enters a prompt. Knows no models."""
