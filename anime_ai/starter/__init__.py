"""How the embedded models under `assets/starter/` are made, reproducibly. Knows nothing of the app that uses them."""
