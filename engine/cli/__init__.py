"""The command `datagen`: arguments in, exit code out."""
