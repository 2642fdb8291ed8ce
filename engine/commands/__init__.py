"""The commands of `datagen`, by what they are about; engine.cli puts them together."""
