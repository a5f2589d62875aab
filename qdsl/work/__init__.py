"""What several verbs share: the recipe with its model in canonical form, decisions, and writing what came of it."""
