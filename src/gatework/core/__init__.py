"""What every other package stands on: errors, registries, the recipe, the architecture and the bundle format."""
