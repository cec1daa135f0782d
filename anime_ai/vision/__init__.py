"""What is seen in a picture, and who it is."""
