"""The recipe: one YAML file that says everything about a piece of work."""

from weitiao.recipe.reading import load_recipe, recipe_from_dict
from weitiao.recipe.recipe import Recipe, differences, write_recipe

__all__ = ["Recipe", "differences", "load_recipe", "recipe_from_dict", "write_recipe"]
