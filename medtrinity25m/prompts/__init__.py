"""The prompts, versioned as text: data only, read by `medtrinity25m.description.prompt`."""
