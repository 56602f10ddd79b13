"""What the edge says about itself: tables of paths, parameters and messages, checked against the code by tests."""
