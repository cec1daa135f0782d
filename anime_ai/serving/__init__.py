"""What other programs may ask of the studio: keys, quotas, and OpenAI's forms. Knows no HTTP and no page."""
