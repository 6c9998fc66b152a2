"""A microscope behind Micro-Manager that exists only as physics: for tests, benches, training and demonstrations."""
