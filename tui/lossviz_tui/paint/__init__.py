"""Painters: functions of arrays and a size that return lines of cells.

They know no app, no store and no clock, so a test compares what they return.
"""
