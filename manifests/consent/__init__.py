"""Who agreed to be shown, or to have their movement used, for what, where and until when; and whether that holds."""
