"""Networks whose input is a view of a clip."""
