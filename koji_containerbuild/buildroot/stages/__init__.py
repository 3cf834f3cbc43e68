"""The stages of the recipe: one file, one function each."""
