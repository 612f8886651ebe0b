"""Recorders for training frameworks; each module loads its own framework, and only that."""
