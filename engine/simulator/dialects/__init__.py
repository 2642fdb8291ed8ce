"""How providers and servers differ: what they refuse and in which words, how they count, where thoughts stand."""
