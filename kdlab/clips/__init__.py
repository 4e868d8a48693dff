"""What a clip is, and how its pixels reach a tensor."""
