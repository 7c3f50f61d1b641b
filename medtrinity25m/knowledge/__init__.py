"""Knowledge: passages that rows cite by id, shipped as the `knowledge` config."""
