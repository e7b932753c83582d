"""A backbone whose forces are not the gradient of its energy."""
