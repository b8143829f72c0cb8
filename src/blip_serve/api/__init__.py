"""The HTTP face of the tasks: types, routes, errors. Holds no behaviour of the service itself."""
