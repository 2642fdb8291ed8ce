"""The commands of `datagen`, grouped by subject; engine.cli.app combines them."""
