"""What predictions mean. No torch and no images here."""
