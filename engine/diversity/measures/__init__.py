"""How diverse a dataset is: by its vectors, its words, its values."""
