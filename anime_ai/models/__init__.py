"""Base models, adapters and the engines that run them. Knows neither personas nor prompts nor pages."""
