"""The command line: starts the mesh, and talks to it as any other client would."""
