"""Pictures of an archive: whatever the range, it is reduced to a picture's size before it is drawn (docs/plots.md)."""
