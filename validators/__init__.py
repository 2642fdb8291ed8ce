"""The built-in validators. The engine finds them through the entry-point group `datagen.validators`."""
