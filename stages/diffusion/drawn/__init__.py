"""The bundled animator of drawn people: Animate Anyone's family, small, without text and guidance."""
