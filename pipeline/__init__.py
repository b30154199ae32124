"""The middleware and the machines around the ISR engine."""
