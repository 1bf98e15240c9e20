"""No transform is used here."""
