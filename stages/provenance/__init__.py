"""What every film carries: signed content credentials, and an invisible watermark; and how both are found again."""
