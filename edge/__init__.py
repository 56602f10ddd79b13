"""The edge: REST and WebSocket for the world, gRPC towards the mesh."""
