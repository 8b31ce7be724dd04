"""Camera Dropbox: the gridworld of the paper, exact and learned."""
