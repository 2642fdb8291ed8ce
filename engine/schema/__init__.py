"""What the columns of a dataset hold: types, ranges, closed sets; from and to Arrow."""
