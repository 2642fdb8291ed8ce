"""How good items and checks are: planted defects, calibration, estimates with their intervals."""
