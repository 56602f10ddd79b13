"""How the mesh and this process are doing."""
