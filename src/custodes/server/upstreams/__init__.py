"""Where replies come from: servers over HTTP, and models in this process."""
