"""Human activity recognition on a wrist: the data, the shipped models, and the live demo."""
