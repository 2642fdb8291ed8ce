"""The commands of `datagen`, by what they are about; engine.cli.app puts them together."""
